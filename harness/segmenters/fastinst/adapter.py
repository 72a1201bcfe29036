"""FastInst (He et al., CVPR 2023) segments instances with queries that are picked from the image.

The adapter that the registry names. Our own implementation from the paper; no detectron2. These modules import torch:
backbone.py, pixel_decoder.py (PPM-FPN), proposals.py (queries), decoder.py (dual path), network.py (training, answers),
convert.py (checkpoints of the authors).
"""

from typing import TYPE_CHECKING, Any

from harness.data.labels import LabelSet
from harness.segmenters.base import SegmenterAdapter
from harness.segmenters.fastinst import options
from harness.segmenters.options import Backbone

if TYPE_CHECKING:
    from harness.segmenters.fastinst.network import FastInstNetwork


class FastInst(SegmenterAdapter[options.Model]):
    """This adapter builds FastInst."""

    Model = options.Model
    Inference = options.Inference
    tasks = ("instance",)

    @classmethod
    def build(
        cls, backbone: Backbone, model: options.Model, labels: LabelSet, *, shape: dict[str, Any] | None = None
    ) -> "FastInstNetwork":
        """See `SegmenterAdapter.build`."""
        from harness.segmenters.fastinst.network import FastInstNetwork

        return FastInstNetwork.build(backbone, model, labels, shape=shape)
