"""OneFormer and Mask2Former share this base: a model of transformers with our targets, loss and predictions.

What the model is asked, and what is read off it, is in oneformer/network.py and mask2former/network.py.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

from torch import Tensor
from transformers import (
    Mask2FormerForUniversalSegmentation,
    OneFormerForUniversalSegmentation,
    PreTrainedConfig,
)

from harness.core.errors import HarnessError
from harness.data.labels import Label, LabelSet
from harness.data.prediction import Prediction
from harness.segmenters import postprocess
from harness.segmenters.aids import Aids
from harness.segmenters.backbones import backbone_config, pretrained_backbone
from harness.segmenters.batches import crop_batch
from harness.segmenters.criterion import SetCriterion
from harness.segmenters.initial import as_the_authors
from harness.segmenters.loader import Batch
from harness.segmenters.network import Sample
from harness.segmenters.options import Backbone, MaskInference, MaskModel
from harness.segmenters.pretrained import whole_config, whole_model
from harness.segmenters.targets import Task
from harness.segmenters.training import Trainable

KindT = TypeVar("KindT", bound=OneFormerForUniversalSegmentation | Mask2FormerForUniversalSegmentation)
ModelT = TypeVar("ModelT", bound=MaskModel)
InferenceT = TypeVar("InferenceT", bound=MaskInference)


class MaskNetwork(Trainable[InferenceT], Generic[KindT, ModelT, InferenceT]):
    """A network around a `model` of transformers (class `Kind`), whose own criterion is not used."""

    Kind: type[KindT]
    Config: ClassVar[type[PreTrainedConfig]]
    """Of `Kind`."""
    MAY_DIFFER: ClassVar[str]
    """Tensors of a checkpoint that start anew where they don't fit, as a regular expression."""

    backbone_prefix = "model.model.pixel_level_module.encoder."

    def __init__(self, model: KindT, options: ModelT, labels: LabelSet) -> None:
        super().__init__()
        self.model, self.options, self.labels = model, options, labels
        self.classes = self.classes_of(options, labels)
        del model.criterion
        self.criterion = SetCriterion.of(options, num_classes=len(self.classes))
        self.aids = Aids(
            hidden=self.features,
            num_classes=len(self.classes),
            located=options.located,
            semantic_weight=options.semantic_weight,
        )

    @classmethod
    def build(cls, backbone: Backbone, options: ModelT, labels: LabelSet, *, shape: dict[str, Any] | None) -> Self:
        """See `SegmenterAdapter.build`."""
        config: Any  # transformers configures its models by untyped keywords
        if shape is not None:
            config = cls.Config.from_dict(shape)
            return cls(cls.Kind(config), options, labels)
        if backbone.checkpoint:
            config = whole_config(backbone.checkpoint, cls.Config)
            found = config.backbone_config.model_type
            if backbone.family not in (None, found):
                raise HarnessError(
                    f"{backbone.checkpoint}: the checkpoint is of another architecture: "
                    f"expected a backbone of the family {backbone.family}, found {found}",
                    hint=f"name a backbone of the family {found}",
                )
            config.update(cls.ours(options, labels))
            model, anew = whole_model(backbone.checkpoint, cls.Kind, config, cls.MAY_DIFFER)
            network = cls(model, options, labels)
            filled = [f"model.{name}" for name in model.state_dict() if name not in anew]
            filled += [f"aids.{name}" for name in network.aids.place_as_in(backbone.checkpoint)]
            network.begin_from(filled, backbone)
            return network
        config = cls.Config(**cls.sizes(options, labels) | {"backbone_config": backbone_config(backbone)})
        model = cls.Kind(config)
        as_the_authors(model)
        if backbone.weights:
            model.model.pixel_level_module.encoder = pretrained_backbone(backbone)
        return cls(model, options, labels)

    @classmethod
    @abstractmethod
    def classes_of(cls, options: ModelT, labels: LabelSet) -> Sequence[Label]:
        """Return the classes that the network tells apart."""

    @property
    @abstractmethod
    def features(self) -> int:
        """Channels of the mask features."""

    @classmethod
    def ours(cls, options: ModelT, labels: LabelSet) -> dict[str, Any]:
        """Return the settings that hold whatever the configuration of a checkpoint says."""
        return {"num_labels": len(cls.classes_of(options, labels))}

    @classmethod
    def sizes(cls, options: ModelT, labels: LabelSet) -> dict[str, Any]:
        """Return the configuration of a new model, its backbone left out."""
        return cls.ours(options, labels) | {
            "num_queries": options.queries,
            "hidden_dim": options.hidden,
            "encoder_layers": options.encoder_layers,
            "decoder_layers": options.decoder_layers,
            "num_attention_heads": options.heads,
            "encoder_feedforward_dim": options.encoder_feedforward,
            "dim_feedforward": options.decoder_feedforward,
            "dropout": options.dropout,
        }

    @property
    def shape(self) -> dict[str, Any]:
        """All that is needed to build this network again without weights."""
        return self.model.config.to_dict()

    def checkpoint_gradients(self) -> None:
        """Recompute the backbone's activations in the backward pass instead of keeping them."""
        self.model.model.pixel_level_module.encoder.gradient_checkpointing_enable()

    def counts(self, batch: Batch) -> dict[str, float | Tensor]:
        """See `Trainable.counts`: class, mask and dice count targets."""
        return self.criterion.counts(batch["classes"], self.model.config.num_queries)

    def _crops(self, samples: Sequence[Sample], tasks: Task | Sequence[Task]) -> Batch:
        """Pixels and targets of crops; one task for all, or one per crop."""
        smallest, with_labels = self.options.min_pixels, self.options.semantic_weight > 0
        return crop_batch(samples, tasks, self.labels, self.classes, min_pixels=smallest, with_labels=with_labels)

    def _answer(self, asked: Mapping[str, tuple[Tensor, Tensor]], inference: InferenceT) -> Prediction:
        """The answer for one image from the logits of each question: classes [Q, K + 1], masks [Q, H, W] at the size of
        the image. Without "panoptic" and "semantic" among them it holds instances alone.
        """
        found = postprocess.instances(
            *asked["instance"], self.classes, topk=inference.topk, min_score=inference.min_score
        )
        if "panoptic" not in asked:
            return Prediction(instances=found)
        panorama, segments = postprocess.panoptic(
            *asked["panoptic"],
            self.classes,
            object_threshold=inference.object_threshold,
            overlap_threshold=inference.overlap_threshold,
        )
        votes = postprocess.votes(*asked["semantic"])
        return Prediction(
            instances=found,
            semantic=postprocess.elected(votes, self.classes),
            votes=votes.cpu().numpy() if self.keep_votes else None,
            panoptic=panorama,
            segments=segments,
        )
