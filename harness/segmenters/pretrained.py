"""This module reads pretrained models: configurations and models of transformers, named tensors.

They come from the hub, its cache or a folder, or are shipped here. A configuration is data: the code that it may name
(`auto_map`) is never run. A model must hold every tensor that is read; what may be missing is said by the caller.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as library

from harness.core.errors import HarnessError
from harness.weights import checkpoints, headers
from harness.weights.integrity import check_file
from harness.weights.tensors import other_architecture, read_tensors, reads_headers, why

logger = logging.getLogger(__name__)

Found = TypeVar("Found")
ConfigT = TypeVar("ConfigT", bound=PreTrainedConfig)
ModelT = TypeVar("ModelT", bound=PreTrainedModel)

FILES = ("model.safetensors", "pytorch_model.bin")
"""Files of weights, the first that is there counts."""


def fetched(source: str, load: Callable[..., Found], **options: Any) -> Found:
    """`load(source)`: a hub id or a local folder; HarnessError that says how to get it when it can't be read."""
    place = _place(source)
    try:
        with _quiet():
            return load(place, **options)
    except (OSError, ValueError, RuntimeError, EOFError, UnpicklingError, SafetensorError) as error:
        network = "" if Path(place).exists() else f"with network: hf download {source}; or "
        raise HarnessError(
            f"the checkpoint {source!r} can't be read: {why(error)}",
            hint=f"{network}name a folder that holds config.json and model.safetensors",
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's bars and its table of missing tensors, which are checked here."""
    before, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity_error()
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(before)
        if bars:
            library.enable_progress_bar()


def described(source: str) -> dict[str, Any]:
    """Return the config.json of a checkpoint, without the precision that its weights are stored in: it is no model's
    own.
    """
    known: dict[str, Any] = _without_precision(fetched(source, PreTrainedConfig.get_config_dict)[0])
    return known


def _without_precision(config: Any) -> Any:
    """Return the config without its precision: a backbone made with `dtype = "float16"` would compute in it."""
    if isinstance(config, dict):
        return {k: _without_precision(v) for k, v in config.items() if k not in ("dtype", "torch_dtype")}
    return config


def whole_config(source: str, kind: type[ConfigT]) -> ConfigT:
    """Return the configuration of a whole model; HarnessError when it is of another network than `kind`."""
    known = described(source)
    if known.get("model_type") != kind.model_type:
        raise HarnessError(
            f"{source}: the checkpoint is of another architecture: expected {kind.model_type}, "
            f"found {known.get('model_type')}"
        )
    return fetched(source, lambda _: kind.from_dict(known))


def whole_model(
    source: str, kind: type[ModelT], config: PreTrainedConfig, may_differ: str
) -> tuple[ModelT, Collection[str]]:
    """Return a model of transformers with the weights of `source`, a hub id or a local folder, and the names of the
    tensors that start anew.

    These match `may_differ`: they may be missing or have another shape. HarnessError that
    names the first other ones: the checkpoint is then of another architecture.
    """
    load: Callable[..., Any] = kind.from_pretrained  # a pair, as asked for; its types know of the model alone
    if reads_headers():
        load = partial(_by_headers, kind)
    asked: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True, "trust_remote_code": False}
    asked |= {"dtype": torch.float32}  # files of half precision are trained in full
    model, info = fetched(source, load, config=config, **asked)
    odd = {name: f"{name}: missing" for name in info["missing_keys"]}
    odd |= {n: f"{n}: expected shape {tuple(want)}, found {tuple(found)}" for n, found, want in info["mismatched_keys"]}
    anew = sorted(name for name in odd if re.search(may_differ, name))
    problems = [text for name, text in sorted(odd.items()) if name not in anew]
    if problems:
        raise other_architecture(source, problems, hint=f"expected a checkpoint of {kind.__name__} of transformers")
    if anew:
        logger.info("%s: these tensors start anew: %s", source, ", ".join(anew))
    return model, anew


def _by_headers(kind: type[ModelT], place: str, **asked: Any) -> tuple[ModelT, dict[str, Any]]:
    """Return what `from_pretrained` does, with a model on the meta device."""
    folder = Path(place) if Path(place).is_dir() else headers.cached(place)
    return headers.transformers_network(kind, folder, **asked)


def named_tensors(source: str) -> dict[str, Tensor]:
    """Return the tensors of a file, of a folder or of a hub id, by the names that they have there."""
    if Path(source).expanduser().is_file():
        return read_tensors(Path(source).expanduser())
    return read_tensors(fetched(source, _weights_file))


def _weights_file(place: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if Path(place).is_dir():
        for name in FILES:
            if (Path(place) / name).is_file():
                return Path(place) / name
        raise FileNotFoundError(f"no {' and no '.join(FILES)} in it")
    try:
        return Path(hf_hub_download(place, FILES[0]))
    except EntryNotFoundError:
        return Path(hf_hub_download(place, FILES[1]))


def _place(source: str) -> str:
    """Return where libraries look for `source`; HarnessError for a folder that isn't there."""
    folder = checkpoints.local(source) or Path(source).expanduser()
    if folder.is_dir():
        for path in (folder / "config.json", *(folder / name for name in FILES)):
            if path.is_file():
                check_file(path)
        return str(folder)
    if folder.is_file() or source.startswith((".", "/", "~")) or source.count("/") > 1:
        what = "is a file" if folder.is_file() else "no such folder"
        raise HarnessError(
            f"the checkpoint {source!r} can't be read: {what}",
            hint="name a folder that holds config.json and model.safetensors, or a hub id owner/name; "
            "harness convert makes such a folder of OneFormer's own files",
        )
    return source
