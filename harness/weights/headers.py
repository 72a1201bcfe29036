"""This module reads names, shapes and types of a checkpoint's tensors from the headers of its files.

Within `tensors.headers_only()` readers of weights give tensors on the meta device, which hold no numbers. A network
that is built there takes no memory, so that a broken, an incomplete or another checkpoint is found within seconds, and
by the code that would load it. Files are those of safetensors and torch, in the layouts of diffusers and transformers.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.config import parse_json
from harness.weights.integrity import refuse_pointer
from harness.weights.tensors import of_header, other_architecture

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")


def weight_files(folder: Path, variant: str | None = None) -> list[Path]:
    """Return the file of weights in a folder of diffusers or transformers, or its shards.

    FileNotFoundError where there is none, or a shard is missing.
    """
    middle = f".{variant}" if variant else ""
    for stem in _STEMS:
        for suffix in ("safetensors", "bin"):
            whole, index = folder / f"{stem}{middle}.{suffix}", folder / f"{stem}.{suffix}.index{middle}.json"
            if whole.is_file():
                return [whole]
            if index.is_file():
                shards = sorted(set(parse_json(index.read_text(encoding="utf-8"))["weight_map"].values()))
                for shard in shards:
                    if not (folder / shard).is_file():
                        raise FileNotFoundError(f"{folder / shard} is missing, which {index.name} names")
                return [folder / shard for shard in shards]
    raise FileNotFoundError(f"{folder}: no weights in it{f' of variant {variant!r}' if variant else ''}")


def cached(hub_id: str, revision: str | None = None) -> Path:
    """Return the folder of a hub id in the local cache; the hub library's error, at once, where it isn't there."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(hub_id, revision=revision, local_files_only=True))


def of_folder(folder: Path, variant: str | None = None) -> "dict[str, Tensor]":
    """Return all tensors of the weights in a folder, on the meta device."""
    found: dict[str, Tensor] = {}
    for path in weight_files(folder, variant):
        refuse_pointer(path)
        found |= of_header(path)
    return found


def transformers_network(kind: Any, folder: Path, *, variant: str | None = None, **asked: Any) -> Any:
    """Return what `kind.from_pretrained` of transformers gives for a folder, on the meta device.

    Names are converted as for the weights themselves. HarnessError for missing tensors and other shapes, unless the
    caller asks for `output_loading_info` and looks itself.
    """
    config = asked.pop("config", None) or kind.config_class.from_pretrained(folder, local_files_only=True)
    looks = asked.pop("output_loading_info", False)
    asked |= {"ignore_mismatched_sizes": True, "output_loading_info": True, "device_map": {"": "meta"}}
    network, info = kind.from_pretrained(None, config=config, state_dict=of_folder(folder, variant), **asked)
    if looks:
        return network, info
    problems = [f"{name}: missing" for name in sorted(info["missing_keys"])]
    problems += [
        f"{n}: expected shape {tuple(want)}, found {tuple(found)}" for n, found, want in info["mismatched_keys"]
    ]
    if problems:
        raise other_architecture(str(folder), problems, hint=f"expected a checkpoint of {kind.__name__}")
    return network


def diffusers_network(kind: Any, folder: Path, *, variant: str | None = None, dtype: "torch.dtype") -> Any:
    """Return what `kind.from_pretrained` of diffusers gives for a folder, on the meta device.

    HarnessError for missing tensors and other shapes.
    """
    import torch

    with torch.device("meta"):
        network = kind.from_config(kind.load_config(folder, local_files_only=True)).to(dtype)
    found = of_folder(folder, variant)
    if hasattr(network, "_fix_state_dict_keys_on_load"):  # names of older versions, the autoencoder's attention say
        network._fix_state_dict_keys_on_load(found)
    wanted = network.state_dict()
    problems = [f"{name}: missing" for name in wanted if name not in found]
    problems += [
        f"{name}: expected shape {tuple(value.shape)}, found {tuple(found[name].shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    if problems:
        raise other_architecture(str(folder), problems, hint=f"expected a checkpoint of {kind.__name__}")
    return network


def pipeline(kind: Any, folder: Path, *, variant: str | None = None, dtype: "torch.dtype", **given: Any) -> Any:
    """Return a pipeline of diffusers from a folder, its networks on the meta device; `given`: components that are
    known.
    """
    parts = dict(given)
    for name, entry in parse_json((folder / "model_index.json").read_text(encoding="utf-8")).items():
        if name in given or not isinstance(entry, list):
            continue
        library, class_name = entry
        parts[name] = library and component(library, class_name, folder / name, variant=variant, dtype=dtype)
    return kind(**parts)


def component(library: str, name: str, folder: Path, *, variant: str | None, dtype: "torch.dtype") -> Any:
    """Return one component of a pipeline: a network on the meta device, anything else as it is."""
    import torch

    kind = getattr(importlib.import_module(library), name)
    if not issubclass(kind, torch.nn.Module):
        return kind.from_pretrained(folder, local_files_only=True)
    if library == "transformers":
        return transformers_network(kind, folder, variant=variant, dtype=dtype)
    return diffusers_network(kind, folder, variant=variant, dtype=dtype)
