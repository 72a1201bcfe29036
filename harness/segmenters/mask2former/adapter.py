"""Mask2Former (Cheng et al., CVPR 2022) classifies masks by masked attention, one task per training.

The adapter that the registry names. The network is in network.py, which imports torch.
"""

from typing import TYPE_CHECKING, Any

from harness.data.labels import LabelSet
from harness.segmenters.base import SegmenterAdapter
from harness.segmenters.mask2former import options
from harness.segmenters.options import Backbone

if TYPE_CHECKING:
    from harness.segmenters.mask2former.network import Mask2FormerNetwork


class Mask2Former(SegmenterAdapter[options.Model]):
    """This adapter builds Mask2Former."""

    Model = options.Model
    Inference = options.Inference

    @classmethod
    def reading(cls, checkpoint: str, model: options.Model, labels: LabelSet) -> options.Model:
        """Return the options for the task of the checkpoint, which its number of classes tells."""
        from harness.segmenters.pretrained import described

        tasks = {len(labels.things): "instance", len(labels.evaluated): "panoptic"}
        task = tasks.get(len(described(checkpoint).get("id2label", ())), model.task)
        return model.model_copy(update={"task": task})

    @classmethod
    def build(
        cls, backbone: Backbone, model: options.Model, labels: LabelSet, *, shape: dict[str, Any] | None = None
    ) -> "Mask2FormerNetwork":
        """See `SegmenterAdapter.build`."""
        from harness.segmenters.mask2former.network import Mask2FormerNetwork

        return Mask2FormerNetwork.build(backbone, model, labels, shape=shape)
