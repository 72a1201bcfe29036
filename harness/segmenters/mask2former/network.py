"""The network of Mask2Former is the model of transformers with our targets, loss and predictions."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation
from transformers.models.mask2former import modeling_mask2former

from harness.data.labels import Label, LabelSet
from harness.data.prediction import Prediction
from harness.segmenters import deformable
from harness.segmenters.backbones import shown
from harness.segmenters.criterion import Layer
from harness.segmenters.loader import Batch
from harness.segmenters.mask2former.options import Inference, Model
from harness.segmenters.mask_network import MaskNetwork
from harness.segmenters.network import Sample

deformable.install(modeling_mask2former)


class Mask2FormerNetwork(MaskNetwork[Mask2FormerForUniversalSegmentation, Model, Inference]):
    """Mask2Former for the one task that the options name: instances, or panoptic, which gives all three predictions."""

    Kind, Config = Mask2FormerForUniversalSegmentation, Mask2FormerConfig
    MAY_DIFFER = r"class_predictor|criterion|swin\.layernorm"
    """Other classes, and a norm that nothing reads."""

    @property
    def reads(self) -> Literal["ids", "outlines"]:
        """For instances the authors' code trains on detectron2's data sets of polygons, else on panoptic images."""
        return "outlines" if self.options.task == "instance" else "ids"

    @property
    def features(self) -> int:
        """See `MaskNetwork.features`."""
        return self.model.config.mask_feature_size

    @classmethod
    def classes_of(cls, options: Model, labels: LabelSet) -> tuple[Label, ...]:
        """Return the classes of things for the instance task, else all classes."""
        return labels.things if options.task == "instance" else labels.evaluated

    @classmethod
    def sizes(cls, options: Model, labels: LabelSet) -> dict[str, Any]:
        """See `MaskNetwork.sizes`."""
        return super().sizes(options, labels) | {"feature_size": options.hidden, "mask_feature_size": options.hidden}

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Crops as pixels and targets."""
        return self._crops(samples, self.options.task)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses: class, mask, dice."""
        features = self._features(batch["pixels"])
        losses = self.criterion(self._layers(features), batch["classes"], batch["masks"])
        if self.options.semantic_weight:
            losses |= self.aids.losses(features.decoder_last_hidden_state, batch["labels"])
        return losses

    @torch.no_grad()
    def predict(self, images: Sequence[np.ndarray], inference: Inference) -> list[Prediction]:
        """Predict for images of one size."""
        inputs, view = shown(images, inference.short_side)
        last = self._layers(self._features(inputs.to(next(self.parameters()).device)))[-1]
        asked = ("instance",) if self.options.task == "instance" else ("instance", "semantic", "panoptic")
        return [
            self._answer(dict.fromkeys(asked, (classes, view.full_size(masks))), inference)
            for classes, masks in zip(last.classes, last.masks, strict=True)
        ]

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
