"""These options name a configuration of detectron2 and a budget. Everything else is in the configuration."""

import importlib.util
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.core.config import Strict
from harness.core.errors import HarnessError
from harness.segmenters import options
from harness.segmenters.options import Budget

INSTALL = "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"


class Model(Strict):
    """This says which configuration is used, and what has to be imported before it can be read."""

    config: str
    """A YAML file, or a name of detectron2's model zoo such as Cityscapes/mask_rcnn_R_50_FPN.yaml."""
    repository: str = ""
    """The folder of a repository that is no installed package; it is put on the path."""
    setup: list[str] = []
    """Functions "module:function" that add the configuration keys of the repository; importing them registers its
    models.
    """
    mapper: str = ""
    """A class "module:Class" that maps a frame to the model's input; absent: detectron2's DatasetMapper."""
    trainer: str = ""
    """A class "module:Class" whose `build_optimizer` and `build_lr_scheduler` are used; absent: detectron2's own."""
    task: Literal["instance", "panoptic"] = "instance"
    """instance: the classes of things. panoptic: all evaluated ones by train id, as in detectron2's own Cityscapes."""
    options: dict[str, Any] = {}
    """Keys of the configuration that differ: `"SOLVER.BASE_LR" = 0.01`."""


class Training(Budget):
    """The budget, which sets SOLVER.MAX_ITER and SOLVER.IMS_PER_BATCH; everything else is in the configuration."""

    log_every: int = Field(default=20, ge=1)
    checkpoint_every: int = Field(default=1000, ge=1)
    workers: int = Field(default=0, ge=0)
    """Processes that prepare frames ahead; the result does not depend on it."""


class Inference(options.Inference):
    """This says how predictions are read; sizes and thresholds of the model are in its configuration."""

    min_score: float = Field(default=0.0, ge=0, le=1)
    inputs: dict[str, str] = {}
    """What else the model wants to be given with an image: `task = "The task is panoptic"` for OneFormer."""
    batch_size: int = Field(default=1, ge=1)


def config_path(name: str) -> Path:
    """Return the configuration file called so: a path, or a name of the model zoo; HarnessError when there is none."""
    found = importlib.util.find_spec("detectron2")
    zoo = (
        [Path(folder) / "model_zoo" / "configs" for folder in (found.submodule_search_locations or ())] if found else []
    )
    for path in (Path(name), *(folder / name for folder in zoo)):
        if path.is_file():
            return path
    raise HarnessError(f"model.config: no such file: {name}", hint="give a path, or a name of detectron2's model zoo")
