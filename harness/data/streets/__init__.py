"""This folder draws streets, our own procedural street scenes in Cityscapes format.

`draw_scene` draws one frame, `render` writes a data set in the Cityscapes tree, `pool_crops` yields captioned crops
that tiny generators learn from. Nothing here is photographed or downloaded; every pixel follows from a seed. Names are
loaded on first use: whoever plans needs `STREETS_VERSION` and no OpenCV.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.data.streets.pool import PoolCrop, pool_crops
    from harness.data.streets.render_tree import render
    from harness.data.streets.scene import Scene, draw_scene
    from harness.data.streets.street import DOMAINS

STREETS_VERSION = 2
"""Rises with every change of what a seed draws; part of content keys."""

_HOME = {
    "DOMAINS": "street",
    "PoolCrop": "pool",
    "Scene": "scene",
    "draw_scene": "scene",
    "pool_crops": "pool",
    "render": "render_tree",
}

__all__ = ["DOMAINS", "STREETS_VERSION", "PoolCrop", "Scene", "draw_scene", "pool_crops", "render"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
