"""The network of OneFormer is the model of transformers with our targets, text lists, loss and predictions.

Features are computed once and shared by the three questions. The text branch reads each distinct text of a batch once:
at the default sizes that is seconds against most of a minute per step, with the same result.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import OneFormerConfig, OneFormerForUniversalSegmentation
from transformers.models.oneformer import modeling_oneformer

from harness.core.seeds import derive
from harness.data.labels import Label, LabelSet
from harness.data.prediction import Prediction
from harness.segmenters import deformable
from harness.segmenters.backbones import shown
from harness.segmenters.criterion import Layer
from harness.segmenters.loader import Batch
from harness.segmenters.mask_network import MaskNetwork
from harness.segmenters.network import Sample
from harness.segmenters.oneformer.options import TASKS, Inference, Model
from harness.segmenters.oneformer.text import Words, task_text, texts

deformable.install(modeling_oneformer)


class OneFormerNetwork(MaskNetwork[OneFormerForUniversalSegmentation, Model, Inference]):
    """OneFormer for three tasks, each named by a text; in training it also reads the texts of what a crop shows."""

    Kind, Config = OneFormerForUniversalSegmentation, OneFormerConfig
    MAY_DIFFER = r"class_embed|text_mapper|criterion|swin\.layernorm"
    """Other classes, a text branch that was left out, and a norm that nothing reads."""

    def __init__(self, model: OneFormerForUniversalSegmentation, options: Model, labels: LabelSet) -> None:
        scale = model.criterion.logit_scale.detach().clone()
        del model.matcher
        super().__init__(model, options, labels)
        self.words = Words.of(options.vocabulary, labels)
        self.logit_scale = nn.Parameter(scale) if options.text_contrastive else None
        if model.model.text_mapper is not None:
            for layer in model.model.text_mapper.text_encoder.transformer.layers:
                layer.self_attn.register_forward_pre_hook(_causal, with_kwargs=True)

    @property
    def features(self) -> int:
        """See `MaskNetwork.features`."""
        return self.model.config.mask_dim

    @classmethod
    def classes_of(cls, options: Model, labels: LabelSet) -> tuple[Label, ...]:
        """Return all classes."""
        return labels.evaluated

    @classmethod
    def ours(cls, options: Model, labels: LabelSet) -> dict[str, Any]:
        """See `MaskNetwork.ours`."""
        words = Words.of(options.vocabulary, labels)
        return super().ours(options, labels) | {
            "is_training": options.text_contrastive,
            "text_encoder_context_length": words.length,
            "text_encoder_vocab_size": words.size,
        }

    @classmethod
    def sizes(cls, options: Model, labels: LabelSet) -> dict[str, Any]:
        """See `MaskNetwork.sizes`."""
        words = Words.of(options.vocabulary, labels)
        return super().sizes(options, labels) | {
            "conv_dim": options.hidden,
            "mask_dim": options.hidden,
            "query_dec_layers": options.query_layers,
            "task_seq_len": words.length,
            "text_encoder_width": options.hidden,
            "text_encoder_num_layers": options.text_layers,
            "text_encoder_n_ctx": options.text_context,
        }

    def train(self, mode: bool = True) -> "OneFormerNetwork":
        """Set the mode as torch does, and the dropout of the pixel decoder, which transformers ties to the texts: on in
        every prediction of a network with texts, and off in every training without.
        """
        for layer in self.model.model.pixel_level_module.decoder.encoder.layers:
            layer.is_training = mode
        return super().train(mode)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Crops as pixels, tasks, targets and texts; each crop draws its task from its own seed."""
        asked = [self.options.tasks[derive(sample.seed, "task") % len(self.options.tasks)] for sample in samples]
        batch = self._crops(samples, asked)
        batch["tasks"] = self._task_tokens(asked)
        if self.options.text_contrastive:
            count = self.model.config.num_queries - self.options.text_context
            named = [[self.classes[k].name for k in kinds] for kinds in batch["classes"]]
            lines = [texts(task, names, count) for task, names in zip(asked, named, strict=True)]
            unique = sorted({line for every in lines for line in every})
            batch["texts"] = torch.from_numpy(np.stack([self.words.tokens(line) for line in unique]))
            batch["text_index"] = torch.tensor([[unique.index(line) for line in every] for every in lines])
        return batch

    @property
    def couples(self) -> tuple[str, ...]:
        """See `Trainable.couples`."""
        return ("text",) if self.options.text_contrastive else ()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses: class, mask, dice, and text where the text branch is on."""
        features = self._features(batch["pixels"])
        decoded = self._decode(features, batch["tasks"])
        layers = [Layer(a["class_queries_logits"], a["masks_queries_logits"]) for a in decoded.auxiliary_predictions]
        layers = [Layer(decoded.prediction_class, decoded.prediction_masks), *layers]
        losses = self.criterion(layers, batch["classes"], batch["masks"])
        if self.options.semantic_weight:
            losses |= self.aids.losses(features.decoder_last_feature, batch["labels"])
        if self.logit_scale is not None:
            scale = self.logit_scale.exp().clamp(max=100)
            losses["text"] = self.options.contrastive_weight * self._text_loss(batch, decoded.contrastive_logits, scale)
        return losses

    @torch.no_grad()
    def predict(self, images: Sequence[np.ndarray], inference: Inference) -> list[Prediction]:
        """Predict for images of one size; all tasks share backbone and pixel decoder."""
        device = next(self.parameters()).device
        inputs, view = shown(images, inference.short_side)
        features = self._features(inputs.to(device))
        answers = {}
        for task in self.options.tasks if inference.questions == "own" else ["panoptic"]:
            decoded = self._decode(features, self._task_tokens([task] * len(images)).to(device))
            answers[task] = decoded.prediction_class, decoded.prediction_masks
        answers = {task: answers.get(task, answers["panoptic"]) for task in TASKS}
        return [
            self._answer({task: (c[index], view.full_size(m[index])) for task, (c, m) in answers.items()}, inference)
            for index in range(len(images))
        ]

    def _features(self, inputs: Tensor) -> Any:
        features = self.model.model.pixel_level_module(inputs)
        features.decoder_last_feature = self.aids.locate(features.decoder_last_feature)
        return features

    def _decode(self, features: Any, tasks: Tensor) -> Any:
        return self.model.model.transformer_module(
            multi_scale_features=features.decoder_features,
            mask_features=features.decoder_last_feature,
            task_token=self.model.model.task_encoder(tasks),
        )

    def _task_tokens(self, asked: Sequence[str]) -> Tensor:
        # As long as a checkpoint has them, which may know longer or shorter names; a question is shorter than either.
        rows = torch.zeros(len(asked), self.model.config.task_seq_len)
        for row, task in zip(rows, asked, strict=True):
            tokens = torch.from_numpy(self.words.tokens(task_text(task)))[: len(row)]
            row[: len(tokens)] = tokens
        return rows

    def _text_loss(self, batch: Batch, queries: Tensor, scale: Tensor) -> Tensor:
        """Query-text contrastive loss over the batch (OneFormer, section 3.3)."""
        mapper = self.model.model.text_mapper
        assert mapper is not None
        encoded = mapper.text_projector(mapper.text_encoder(batch["texts"]))[batch["text_index"]]
        if mapper.prompt_ctx is not None:
            context = mapper.prompt_ctx.weight.expand(len(encoded), -1, -1)
            encoded = torch.cat([encoded, context], dim=1)
        ours = F.normalize(queries.float().flatten(1), dim=-1)
        theirs = F.normalize(encoded.float().flatten(1), dim=-1)
        logits = theirs @ ours.T * scale
        same = torch.arange(len(logits), device=logits.device)
        return F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)


def _causal(attention: nn.Module, arguments: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Add the text encoder's mask, which transformers builds and never applies: no word sees a later one, nor the
    padding behind the last.
    """
    words = arguments[0]
    mask = torch.full((len(words), len(words)), float("-inf"), device=words.device, dtype=words.dtype).triu(1)
    return arguments, named | {"attn_mask": mask}
