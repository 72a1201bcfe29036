"""Any configuration of detectron2 on our data, where detectron2 is installed; FastInst's and OneFormer's included.

Its options, and the adapter that the registry names. detectron2 builds the model, its optimizer and schedule, and maps
a frame to what the model wants; the order of frames, seeds, resume and answers are ours (detectron2_network.py).
Nothing else in the harness needs detectron2.
"""

import hashlib
import importlib.util
import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.core.config import Strict
from harness.core.errors import HarnessError
from harness.segmenters.base import Backbone, SegmenterPart

INSTALL = "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"


class Model(Strict):
    """Which configuration, and what has to be imported before it can be read."""

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
    """instance: the eight thing classes. panoptic: all nineteen by train id, as in detectron2's own Cityscapes."""
    options: dict[str, Any] = {}
    """Keys of the configuration that differ: `"SOLVER.BASE_LR" = 0.01`."""


class Training(Strict):
    """The budget, which sets SOLVER.MAX_ITER and SOLVER.IMS_PER_BATCH; everything else is in the configuration."""

    validate_every: ClassVar[int] = 0

    iterations: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    log_every: int = Field(default=20, ge=1)
    checkpoint_every: int = Field(default=1000, ge=1)
    workers: int = Field(default=0, ge=0)
    """Processes that prepare frames ahead; the result does not depend on it."""


class Inference(Strict):
    """How answers are read; sizes and thresholds of the model are in its configuration."""

    min_score: float = Field(default=0.0, ge=0, le=1)
    inputs: dict[str, str] = {}
    """What else the model wants to be given with an image: `task = "The task is panoptic"` for OneFormer."""
    batch_size: int = Field(default=1, ge=1)


class Detectron2:
    """The adapter."""

    Model = Model
    Training = Training
    Inference = Inference

    @staticmethod
    def missing() -> str:
        """Why it can't be used here; nothing when it can."""
        if importlib.util.find_spec("detectron2") is None:
            return f"not installed: detectron2; {INSTALL}"
        return ""

    @staticmethod
    def fingerprint(part: SegmenterPart, backbone: str) -> str:
        """The text of the configuration and of those it is based on: they decide the result, too."""
        del backbone
        path = config_path(str(part.model.get("config", "")))
        digest = hashlib.sha256()
        while path is not None:
            text = path.read_text(encoding="utf-8")
            digest.update(text.encode())
            base = re.search(r"""^_BASE_:\s*["']?([^"'\s]+)""", text, re.MULTILINE)
            path = config_path(str(path.parent / base[1])) if base else None
        return digest.hexdigest()

    @staticmethod
    def build(backbone: Backbone, model: Model, *, shape: dict[str, Any] | None = None) -> Any:
        """The network, with the weights that `backbone` or its configuration names; `shape`: that of a trained one."""
        if why := Detectron2.missing():
            raise HarnessError(f"the segmenter adapter 'detectron2' is {why.partition(';')[0]}", hint=INSTALL)
        from harness.segmenters.detectron2.network import Detectron2Network

        return Detectron2Network.build(backbone, model, shape=shape)


def config_path(name: str) -> Path:
    """The configuration file called so: a path, or a name of the model zoo; HarnessError when there is none."""
    found = importlib.util.find_spec("detectron2")
    zoo = (
        [Path(folder) / "model_zoo" / "configs" for folder in (found.submodule_search_locations or ())] if found else []
    )
    for path in (Path(name), *(folder / name for folder in zoo)):
        if path.is_file():
            return path
    raise HarnessError(f"model.config: no such file: {name}", hint="give a path, or a name of detectron2's model zoo")
