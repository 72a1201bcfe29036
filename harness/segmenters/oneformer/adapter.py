"""OneFormer (Jain et al., CVPR 2023) is one network for three tasks; a text tells it which one is asked.

The adapter that the registry names. The network is in network.py, which imports torch.
"""

from typing import TYPE_CHECKING, Any

from harness.data.labels import LabelSet
from harness.segmenters.base import SegmenterAdapter
from harness.segmenters.oneformer import options
from harness.segmenters.options import Backbone

if TYPE_CHECKING:
    from harness.segmenters.oneformer.network import OneFormerNetwork


class OneFormer(SegmenterAdapter[options.Model]):
    """This adapter builds OneFormer."""

    Model = options.Model
    Inference = options.Inference

    @classmethod
    def reading(cls, checkpoint: str, model: options.Model, labels: LabelSet) -> options.Model:
        """Return the options without the text branch, which the published files lack."""
        return model.model_copy(update={"text_contrastive": False})

    @classmethod
    def build(
        cls, backbone: Backbone, model: options.Model, labels: LabelSet, *, shape: dict[str, Any] | None = None
    ) -> "OneFormerNetwork":
        """See `SegmenterAdapter.build`."""
        from harness.segmenters.oneformer.network import OneFormerNetwork

        return OneFormerNetwork.build(backbone, model, labels, shape=shape)
