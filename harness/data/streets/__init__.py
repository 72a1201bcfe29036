"""streets: our own procedurally drawn street scenes in Cityscapes format.

`draw_scene` draws one frame, `render` writes a data set in the Cityscapes tree, `pool_crops` yields captioned crops that
tiny generators learn from. Nothing here is photographed or downloaded; every pixel follows from a seed.
"""

from harness.data.streets.plan import DOMAINS
from harness.data.streets.pool import PoolCrop, pool_crops
from harness.data.streets.render import render
from harness.data.streets.scene import STREETS_VERSION, Scene, draw_scene

__all__ = ["DOMAINS", "STREETS_VERSION", "PoolCrop", "Scene", "draw_scene", "pool_crops", "render"]
