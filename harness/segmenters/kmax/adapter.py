"""kMaX-DeepLab (Yu et al., ECCV 2022) sees masks as clusters of pixels and moves their centres by k-means steps.

The adapter that the registry names. Our own implementation. These modules import torch: pixel_decoder.py,
transformer.py (k-means cross-attention), criterion.py, answers.py, network.py (training, answers).
"""

from typing import TYPE_CHECKING, Any

from harness.data.labels import LabelSet
from harness.segmenters.base import SegmenterAdapter
from harness.segmenters.kmax import options
from harness.segmenters.options import Backbone

if TYPE_CHECKING:
    from harness.segmenters.kmax.network import KMaXNetwork


class KMaX(SegmenterAdapter[options.Model]):
    """This adapter builds kMaX-DeepLab."""

    Model = options.Model
    Inference = options.Inference

    @classmethod
    def build(
        cls, backbone: Backbone, model: options.Model, labels: LabelSet, *, shape: dict[str, Any] | None = None
    ) -> "KMaXNetwork":
        """See `SegmenterAdapter.build`."""
        from harness.segmenters.kmax.network import KMaXNetwork

        return KMaXNetwork.build(backbone, model, labels, shape=shape)
