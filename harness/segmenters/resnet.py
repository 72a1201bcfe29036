"""This module maps the tensors of a ResNet between the names of transformers, torchvision and timm.

Nothing of these packages is imported.
"""

import re
from typing import NamedTuple

UNREAD = re.compile(r"(.*\.)?num_batches_tracked|fc\.(weight|bias)")
"""Tensors that a feature extractor does not read: counts, and the classifier."""


class TensorPlace(NamedTuple):
    """This says where a tensor of transformers' ResNet is; `kind`: "stem", "shortcut" or the number of a convolution,
    "1" on."""

    kind: str
    stage: int
    block: int
    unit: str
    rest: str


def place(name: str) -> TensorPlace:
    """Return the place of a tensor by its name in transformers."""
    found = re.fullmatch(r"embedder\.embedder\.(convolution|normalization)\.(.*)", name)
    if found:
        return TensorPlace("stem", 0, 0, found[1], found[2])
    found = re.fullmatch(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.(?:layer\.(\d+)|shortcut)\.(\w+)\.(.*)", name)
    assert found, name
    kind = "shortcut" if found[3] is None else str(int(found[3]) + 1)
    return TensorPlace(kind, int(found[1]), int(found[2]), found[4], found[5])


def torchvision_name(name: str) -> str:
    """torchvision's (and timm's) name of a tensor of transformers' ResNet."""
    kind, stage, block, unit, rest = place(name)
    if kind == "stem":
        return f"{'conv1' if unit == 'convolution' else 'bn1'}.{rest}"
    if kind == "shortcut":
        return f"layer{stage + 1}.{block}.downsample.{int(unit == 'normalization')}.{rest}"
    return f"layer{stage + 1}.{block}.{'conv' if unit == 'convolution' else 'bn'}{kind}.{rest}"
