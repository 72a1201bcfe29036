"""This adapter runs any configuration of detectron2 on our data, where detectron2 is installed; FastInst's and
OneFormer's included.

The adapter that the registry names. detectron2 builds the model, its optimizer and schedule, and maps a frame to what
the model wants; the order of frames, seeds, resume and answers are ours (network.py). Nothing else in the harness needs
detectron2.
"""

import hashlib
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError
from harness.data.labels import LabelSet
from harness.segmenters.base import SegmenterAdapter
from harness.segmenters.detectron2 import options
from harness.segmenters.detectron2.options import INSTALL, config_path
from harness.segmenters.options import Backbone
from harness.weights.checkpoints import Need

if TYPE_CHECKING:
    from harness.segmenters.detectron2.network import Detectron2Network


class Detectron2(SegmenterAdapter[options.Model]):
    """This adapter builds networks of detectron2."""

    Model = options.Model
    Training = options.Training
    Inference = options.Inference

    @classmethod
    def missing(cls) -> str:
        """Return why it can't be used here; nothing when it can."""
        if importlib.util.find_spec("detectron2") is None:
            return f"not installed: detectron2; {INSTALL}"
        return ""

    @classmethod
    def fingerprint(cls, backbone: Backbone, model: options.Model) -> str:
        """The text of the configuration and of those it is based on: they decide the result, too."""
        path: Path | None = config_path(model.config)
        digest = hashlib.sha256()
        while path is not None:
            text = path.read_text(encoding="utf-8")
            digest.update(text.encode())
            base = re.search(r"""^_BASE_:\s*["']?([^"'\s]+)""", text, re.MULTILINE)
            path = config_path(str(path.parent / base[1])) if base else None
        return digest.hexdigest()

    @classmethod
    def needs(cls, backbone: Backbone, model: options.Model) -> tuple[Need, ...]:
        """Return none, since none can be looked for: detectron2 has names and places of its own."""
        return ()

    @classmethod
    def build(
        cls, backbone: Backbone, model: options.Model, labels: LabelSet, *, shape: dict[str, Any] | None = None
    ) -> "Detectron2Network":
        """See `SegmenterAdapter.build`; HarnessError where detectron2 is not installed."""
        if why := cls.missing():
            raise HarnessError(f"the segmenter adapter 'detectron2' is {why.partition(';')[0]}", hint=INSTALL)
        from harness.segmenters.detectron2.network import Detectron2Network

        return Detectron2Network.build(backbone, model, labels, shape=shape)
