"""This module loads the weights that a network of the DeepLab line starts from: of its backbone, or of all of it."""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from harness.core import files
from harness.core.config import Strict
from harness.core.errors import HarnessError
from harness.segmenters.checkpoint import CONFIG, WEIGHTS
from harness.segmenters.network import InferenceT
from harness.segmenters.options import Backbone
from harness.segmenters.training import Trainable
from harness.weights import checkpoints
from harness.weights.tensors import other_architecture, read_tensors, save

logger = logging.getLogger(__name__)


class DeepLab(Trainable[InferenceT]):
    """This is a network on a backbone of the DeepLab line."""

    backbone_prefix = "backbone."
    class_heads: ClassVar[str]
    """Which tensors depend on the classes, by name: a regular expression."""
    options: Strict
    """The model's options."""


def start(network: DeepLab[Any], backbone: Backbone) -> None:
    """Fill `network` with what `backbone` names: `checkpoint`, a folder with a whole model (trained or converted), or
    `weights`, one with the tensors of its backbone.

    Class heads that a checkpoint lacks, or has for another number of classes, start anew.
    """
    if backbone.checkpoint:
        found = _tensors(backbone.checkpoint)
        anew = fill(network, found, source=backbone.checkpoint, anew=network.class_heads)
        network.begin_from((name for name in network.state_dict() if name not in anew), backbone)
    elif backbone.weights:
        fill(network.get_submodule("backbone"), _tensors(backbone.weights), source=backbone.weights)


def keep(network: DeepLab[Any], folder: Path) -> None:
    """Write `network` without its class heads into `folder`, in half precision, for a later `start`."""
    kept = {n: v for n, v in network.state_dict().items() if not re.fullmatch(network.class_heads, n)}
    half = {n: v.half() if v.is_floating_point() else v for n, v in kept.items()}
    odd = [name for name, value in half.items() if value.is_floating_point() and not value.isfinite().all()]
    if odd:
        raise HarnessError(f"{folder}: too large for half precision: {', '.join(odd[:3])}")
    save(folder / WEIGHTS, half)
    shape = {"shape": network.shape, "model": network.options.model_dump(mode="json")}
    files.write_bytes(folder / CONFIG, f"{json.dumps(shape, indent=1, sort_keys=True)}\n".encode())


def fill(network: nn.Module, found: Mapping[str, Tensor], *, source: str, anew: str = "") -> list[str]:
    """Load tensors by name; return the names of those that start anew. HarnessError for any other difference."""
    wanted = network.state_dict()
    absent = [name for name in wanted if name not in found and not _counts(name)]
    problems = [f"{name}: missing" for name in absent if not re.fullmatch(anew, name)]
    problems += [f"{name}: not expected" for name in found if name not in wanted]
    fitting, left = {}, [name for name in absent if re.fullmatch(anew, name)]
    for name, value in found.items():
        if name not in wanted:
            continue
        expected, shape = tuple(wanted[name].shape), tuple(value.shape)
        if expected == shape:
            fitting[name] = value
        elif re.fullmatch(anew, name) and expected[1:] == shape[1:]:
            left.append(name)
        else:
            problems.append(f"{name}: expected shape {expected}, found {shape}")
    if problems:
        hint = "model and the backbone's config must be those of the checkpoint"
        raise other_architecture(source, problems, hint=hint)
    if left:
        logger.info("%s: other classes; these tensors start anew: %s", source, ", ".join(left))
    network.load_state_dict(fitting, strict=False)
    return left


def _tensors(source: str) -> dict[str, Tensor]:
    path = checkpoints.local(source) or Path(source).expanduser()
    if not (path / WEIGHTS).is_file():
        raise HarnessError(
            f"the checkpoint {source!r} can't be read: {f'no {WEIGHTS} in it' if path.is_dir() else 'no such folder'}",
            hint="name the folder of a trained segmenter, or one that `harness convert deeplab2` made",
        )
    return read_tensors(path / WEIGHTS)


def _counts(name: str) -> bool:
    """Return whether it is a batch norm's count of batches, which nothing reads."""
    return name.endswith("num_batches_tracked")
