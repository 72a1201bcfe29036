"""These options say where the predictions lie, what their ids mean, and what their training is said to have used."""

from typing import Any, ClassVar

from pydantic import Field

from harness.core.config import Strict
from harness.segmenters.options import Budget


class Model(Strict):
    """This says where the predictions lie and what they call the classes."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = {"folder": True, "instances": True, "semantic": True, "panoptic": True}

    folder: str = Field(min_length=1)
    """The folder; {generator} and {backbone} in it stand for names, so that one part serves several rows. Its folders
    0, 1, ... or seed_0, seed_1, ... are the runs; with none of these it is one run itself."""
    instances: str = ""
    """Below a run: a folder with <frame>*.txt, or a COCO result JSON. Default: `instances` or the only JSON."""
    semantic: str = ""
    """Below a run: a folder with <frame>*.png. Default: `semantic`."""
    panoptic: str = ""
    """Below a run: the folder with the JSON of the panoptic PNGs, or that JSON. Default: `panoptic`."""
    categories: dict[str, str] = {}
    """Their ids to the names of our labels, where they are no label ids: {0 = "person", 1 = "rider"}."""


class Stated(Budget):
    """This holds what the training had, as far as it is known; printed, and in no key."""

    iterations: int = Field(default=0, ge=0)
    batch_size: int = Field(default=0, ge=0)
