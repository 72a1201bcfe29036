"""The network of Mask2Former: the model of transformers with our targets, loss and answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.cityscapes import EVALUATED, THINGS
from harness.segmenters import postprocess
from harness.segmenters.aids import Aids
from harness.segmenters.backbones import backbone_config, pretrained_backbone, shown, whole_config, whole_model
from harness.segmenters.base import Backbone, Prediction, Sample
from harness.segmenters.batches import crop_batch
from harness.segmenters.criterion import Layer, Points, SetCriterion, Weights
from harness.segmenters.initial import as_the_authors
from harness.segmenters.mask2former import Inference, Model

MAY_DIFFER = r"class_predictor|criterion|swin\.layernorm"
"""Of a checkpoint: other classes, and a norm that nothing reads."""


class Mask2FormerNetwork(nn.Module):
    """`model`: transformers' Mask2FormerForUniversalSegmentation; its own criterion is left aside."""

    backbone_prefix = "model.model.pixel_level_module.encoder."
    keep_votes = False

    def __init__(self, model: nn.Module, options: Model) -> None:
        super().__init__()
        self.model, self.options = model, options
        del model.criterion
        self.labels = _labels(options)
        self.criterion = SetCriterion(
            num_classes=len(self.labels),
            weights=Weights(options.class_weight, options.mask_weight, options.dice_weight, options.no_object_weight),
            points=Points(options.points),
        )
        self.aids = Aids(
            hidden=model.config.mask_feature_size,
            num_classes=len(self.labels),
            located=options.located,
            semantic_weight=options.semantic_weight,
        )

    @classmethod
    def build(cls, backbone: Backbone, options: Model, *, shape: dict[str, Any] | None) -> "Mask2FormerNetwork":
        """See `Mask2Former.build`."""
        from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

        if shape is not None:
            return cls(Mask2FormerForUniversalSegmentation(Mask2FormerConfig.from_dict(shape)), options)
        if backbone.checkpoint:
            config = whole_config(backbone.checkpoint, Mask2FormerConfig)
            config.update({"num_labels": len(_labels(options))})
            return cls(
                whole_model(backbone.checkpoint, Mask2FormerForUniversalSegmentation, config, MAY_DIFFER), options
            )
        model = Mask2FormerForUniversalSegmentation(_config(backbone, options))
        as_the_authors(model)
        if backbone.weights:
            model.model.pixel_level_module.encoder = pretrained_backbone(backbone)
        return cls(model, options)

    @property
    def shape(self) -> dict[str, Any]:
        """All that is needed to build this network again without weights."""
        return self.model.config.to_dict()

    def checkpoint_gradients(self) -> None:
        """Recompute the backbone's activations in the backward pass instead of keeping them."""
        self.model.model.pixel_level_module.encoder.gradient_checkpointing_enable()

    def collate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Crops as pixels and targets."""
        options = self.options
        with_labels = options.semantic_weight > 0
        return crop_batch(samples, options.task, self.labels, min_pixels=options.min_pixels, with_labels=with_labels)

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weighted losses: class, mask, dice."""
        features = self._features(batch["pixels"])
        losses = self.criterion(self._layers(features), batch["classes"], batch["masks"])
        return losses | self.aids.losses(features.decoder_last_hidden_state, batch.get("labels"))

    @torch.no_grad()
    def predict(self, images: Sequence[np.ndarray], inference: Inference) -> list[Prediction]:
        """Answers for images of one size."""
        inputs, view = shown(images, inference.short_side)
        last = self._layers(self._features(inputs.to(next(self.parameters()).device)))[-1]
        return [
            self._answer(classes, view.full_size(masks), inference)
            for classes, masks in zip(last.classes, last.masks, strict=True)
        ]

    def _answer(self, classes: Tensor, masks: Tensor, inference: Inference) -> Prediction:
        found = postprocess.instances(classes, masks, self.labels, topk=inference.topk, min_score=inference.min_score)
        if self.options.task == "instance":
            return Prediction(instances=found)
        panorama, segments = postprocess.panoptic(
            classes,
            masks,
            self.labels,
            object_threshold=inference.object_threshold,
            overlap_threshold=inference.overlap_threshold,
        )
        votes = postprocess.votes(classes, masks)
        return Prediction(
            instances=found,
            semantic=postprocess.elected(votes, self.labels),
            votes=votes.cpu().numpy() if self.keep_votes else None,
            panoptic=panorama,
            segments=segments,
        )

    def _features(self, inputs: Tensor) -> Any:
        features = self.model.model.pixel_level_module(inputs)
        features.decoder_last_hidden_state = self.aids.locate(features.decoder_last_hidden_state)
        return features

    def _layers(self, features: Any) -> list[Layer]:
        decoded = self.model.model.transformer_module(
            multi_scale_features=features.decoder_hidden_states,
            mask_features=features.decoder_last_hidden_state,
            output_hidden_states=True,
        )
        states = decoded.intermediate_hidden_states
        classes = [self.model.class_predictor(state.transpose(0, 1)) for state in states]
        return [Layer(*pair) for pair in zip(classes, decoded.masks_queries_logits, strict=True)]


def _labels(options: Model) -> tuple:
    return THINGS if options.task == "instance" else EVALUATED


def _config(backbone: Backbone, options: Model) -> Any:
    from transformers import Mask2FormerConfig

    return Mask2FormerConfig(
        backbone_config=backbone_config(backbone),
        num_labels=len(_labels(options)),
        num_queries=options.queries,
        hidden_dim=options.hidden,
        feature_size=options.hidden,
        mask_feature_size=options.hidden,
        encoder_layers=options.encoder_layers,
        decoder_layers=options.decoder_layers,
        num_attention_heads=options.heads,
        encoder_feedforward_dim=options.encoder_feedforward,
        dim_feedforward=options.decoder_feedforward,
        dropout=options.dropout,
    )
