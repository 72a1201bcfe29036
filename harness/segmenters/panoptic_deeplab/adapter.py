"""Panoptic-DeepLab (Cheng et al., CVPR 2020) and Axial-DeepLab (Wang et al., ECCV 2020) predict a class, a heatmap of
centres and an offset to its centre for every pixel.

The adapter that the registry names. Our own implementation. These modules import torch: decoder.py, targets.py,
losses.py, grouping.py, network.py (training, answers), convert.py (checkpoints of others).
"""

from typing import TYPE_CHECKING, Any

from harness.data.labels import LabelSet
from harness.segmenters.base import SegmenterAdapter
from harness.segmenters.options import Backbone
from harness.segmenters.panoptic_deeplab import options

if TYPE_CHECKING:
    from harness.segmenters.panoptic_deeplab.network import PanopticDeepLabNetwork


class PanopticDeepLab(SegmenterAdapter[options.Model]):
    """This adapter builds Panoptic-DeepLab and Axial-DeepLab."""

    Model = options.Model
    Inference = options.Inference

    @classmethod
    def build(
        cls, backbone: Backbone, model: options.Model, labels: LabelSet, *, shape: dict[str, Any] | None = None
    ) -> "PanopticDeepLabNetwork":
        """See `SegmenterAdapter.build`."""
        from harness.segmenters.panoptic_deeplab.network import PanopticDeepLabNetwork

        return PanopticDeepLabNetwork.build(backbone, model, labels, shape=shape)
