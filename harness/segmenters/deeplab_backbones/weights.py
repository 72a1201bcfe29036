"""A network of the DeepLab line starts from these weights: of the backbone alone, or of a whole model."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from harness.core.errors import HarnessError
from harness.segmenters.checkpoint import WEIGHTS
from harness.segmenters.options import Backbone
from harness.weights.tensors import other_architecture, read_tensors

logger = logging.getLogger(__name__)


def start(network: nn.Module, backbone: Backbone, *, anew: str) -> None:
    """Fill `network` with what `backbone` names: `checkpoint`, a folder with a whole model (trained or converted), or
    `weights`, one with the tensors of its backbone.

    Tensors of a checkpoint whose name matches `anew` start anew where their first size differs (other classes).
    """
    if backbone.checkpoint:
        fill(network, _tensors(backbone.checkpoint), source=backbone.checkpoint, anew=anew)
    elif backbone.weights:
        fill(network.get_submodule("backbone"), _tensors(backbone.weights), source=backbone.weights)


def fill(network: nn.Module, found: Mapping[str, Tensor], *, source: str, anew: str = "") -> list[str]:
    """Load tensors by name; the names of those that start anew. HarnessError for any other difference."""
    wanted = network.state_dict()
    problems = [f"{name}: missing" for name in wanted if name not in found and not _counts(name)]
    problems += [f"{name}: not expected" for name in found if name not in wanted]
    fitting, left = {}, []
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
    path = Path(source).expanduser()
    if not (path / WEIGHTS).is_file():
        raise HarnessError(
            f"{source}: no {WEIGHTS} in it",
            hint="name the folder of a trained segmenter, or one that `harness convert deeplab2` made",
        )
    return read_tensors(path / WEIGHTS)


def _counts(name: str) -> bool:
    """Return whether it is a batch norm's count of batches, which nothing reads."""
    return name.endswith("num_batches_tracked")
