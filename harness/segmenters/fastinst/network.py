"""This module connects FastInst to the training engine: batches, losses and predictions (sections 3.3 and 3.4)."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recomputed
from transformers import ResNetBackbone
from transformers.models.resnet.modeling_resnet import ResNetBasicLayer, ResNetBottleNeckLayer

from harness.data.labels import LabelSet
from harness.data.prediction import Prediction
from harness.segmenters import checkpoint, postprocess
from harness.segmenters.aids import Aids, label_maps
from harness.segmenters.backbones import shown
from harness.segmenters.batches import crop_batch
from harness.segmenters.criterion import Layer, Matching, SetCriterion, sample_points
from harness.segmenters.fastinst import convert
from harness.segmenters.fastinst.backbone import build as build_backbone
from harness.segmenters.fastinst.backbone import frozen_norms
from harness.segmenters.fastinst.decoder import Decoder
from harness.segmenters.fastinst.options import Inference, Model
from harness.segmenters.fastinst.pixel_decoder import PixelDecoder
from harness.segmenters.loader import Batch
from harness.segmenters.network import Sample
from harness.segmenters.options import Backbone
from harness.segmenters.training import Trainable
from harness.weights.tensors import read_tensors


class FastInstNetwork(Trainable[Inference]):
    """Backbone (maps at strides 8, 16, 32), pixel decoder, decoder, losses."""

    backbone_prefix = "backbone."

    def __init__(self, backbone: ResNetBackbone, options: Model, labels: LabelSet) -> None:
        super().__init__()
        self.options, self.labels = options, labels
        self.backbone = frozen_norms(backbone) if options.frozen_norms else backbone
        self.levels = 3 if options.stride == 8 else 4
        self.pixel_decoder = PixelDecoder(backbone.channels[-self.levels :], options.hidden)
        self.decoder = Decoder(
            hidden=options.hidden,
            queries=options.queries,
            peak_floor=options.peak_floor,
            auxiliary=options.auxiliary_queries,
            depth=options.layers,
            heads=options.heads,
            feedforward=options.feedforward,
            num_classes=len(labels.things),
            located=options.located,
            coarser=options.coarser,
        )
        # Stuff teaches the features too, though no query is ever asked for it. Places are the decoder's matter.
        self.aids = Aids(
            hidden=options.hidden,
            num_classes=len(labels.evaluated),
            located=False,
            semantic_weight=options.semantic_weight,
        )
        self.criterion = SetCriterion.of(options, num_classes=len(labels.things))

    @property
    def reads(self) -> Literal["outlines"]:
        """Polygons, as the instance data sets of detectron2 hold, which the authors' code trains on."""
        return "outlines"

    @classmethod
    def build(
        cls, backbone: Backbone, options: Model, labels: LabelSet, *, shape: dict[str, Any] | None
    ) -> "FastInstNetwork":
        """See `SegmenterAdapter.build`."""
        network = cls(build_backbone(backbone, shape=shape), options, labels)
        if shape is None and backbone.checkpoint:
            source = backbone.checkpoint
            if Path(source).is_dir():
                convert.fill(network, convert.exported(checkpoint.load(Path(source))), source=source)
            else:
                convert.fill(network, read_tensors(source), source=source)
        return network

    @property
    def shape(self) -> dict[str, Any]:
        """All that is needed to build this network again without weights."""
        return self.backbone.config.to_dict()

    def checkpoint_gradients(self) -> None:
        """Recompute the activations of the backbone's blocks in the backward pass instead of keeping them.

        Ours, because the ResNet of transformers has no such switch. Batch norms that are not frozen see a batch twice.
        """
        for block in self.backbone.modules():
            if isinstance(block, ResNetBasicLayer | ResNetBottleNeckLayer):
                vars(block)["forward"] = partial(recomputed, block.forward, use_reentrant=False)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Crops as pixels and thing targets."""
        batch = crop_batch(samples, "instance", self.labels, self.labels.things, min_pixels=self.options.min_pixels)
        if self.options.semantic_weight:
            batch["labels"] = label_maps(samples, self.labels, self.labels.evaluated, tuple(batch["pixels"].shape[-2:]))
        return batch

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses: class, mask, dice over all predictions, and proposal."""
        classes, masks = batch["classes"], batch["masks"]
        found: list[Matching] = []

        def guide(layers: Sequence[Layer], locations: Tensor) -> Tensor:
            found.append(self._match(layers, classes, masks, locations))
            return allowed(layers[-1], found[0], masks)

        maps = self._maps(batch["pixels"])
        decoded = self.decoder(maps, guide if self.options.guided else None)
        matching = found[0] if found else self._match(decoded.layers, classes, masks, decoded.locations)
        # What is guided by the match of the last prediction is also compared with it.
        again = matching.queries[-1:].expand(len(decoded.guided), -1)
        matching = Matching(torch.cat([again, matching.queries]), matching.images)
        losses = self.criterion.losses([*decoded.guided, *decoded.layers], classes, masks, matching)
        losses["proposal"] = self.options.proposal_weight * self._proposal_loss(decoded.proposal_logits, classes, masks)
        if self.options.semantic_weight:
            losses |= self.aids.losses(maps[-1], batch["labels"])
        return losses

    def counts(self, batch: Batch) -> dict[str, float | Tensor]:
        """See `Trainable.counts`: class, mask and dice count targets."""
        return self.criterion.counts(batch["classes"], self.options.queries)

    @torch.no_grad()
    def predict(self, images: Sequence[np.ndarray], inference: Inference) -> list[Prediction]:
        """Predict the instances of images of one size."""
        inputs, view = shown(images, inference.short_side)
        last = self.decoder(self._maps(inputs.to(next(self.parameters()).device))).layers[-1]
        return [
            Prediction(
                instances=postprocess.instances(
                    classes,
                    view.full_size(masks),
                    self.labels.things,
                    topk=inference.topk,
                    min_score=inference.min_score,
                )
            )
            for classes, masks in zip(last.classes, last.masks, strict=True)
        ]

    def _maps(self, inputs: Tensor) -> list[Tensor]:
        return self.pixel_decoder(self.backbone(inputs).feature_maps[-self.levels :])

    def _match(
        self, layers: Sequence[Layer], classes: Sequence[Tensor], masks: Sequence[Tensor], locations: Tensor
    ) -> Matching:
        with torch.no_grad():
            inside = [sample_points(m[None].float(), at[None])[0].T > 0 for m, at in zip(masks, locations, strict=True)]
            outside = [-self.options.location_cost * here.float() for here in inside]
        return self.criterion.match(layers, classes, masks, [outside] * len(layers))

    def _proposal_loss(self, logits: Tensor, classes: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Cross entropy of the 1/16 map; a target's pixel is the cheapest one inside it, all others are background."""
        background = len(self.labels.things)
        wanted = torch.full((len(logits), logits[0, 0].numel()), background, dtype=torch.int64, device=logits.device)
        chances = logits.detach().float().softmax(1).flatten(2)
        for b, (kinds, mask) in enumerate(zip(classes, masks, strict=True)):
            if len(kinds) == 0:
                continue
            inside = F.adaptive_avg_pool2d(mask[None].float(), (logits.shape[-2], logits.shape[-1]))[0].flatten(1) > 0
            weights = self.criterion.weights.classes, self.options.location_cost
            cost = -weights[0] * chances[b, kinds] - weights[1] * inside.float()
            # Weights that are not finite reach the loss, where the engine says so, rather than the solver.
            targets, cells = linear_sum_assignment(cost.nan_to_num().cpu().numpy())
            wanted[b, torch.from_numpy(cells).to(wanted.device)] = kinds[torch.from_numpy(targets).to(kinds.device)]
        return F.cross_entropy(logits.flatten(2).float(), wanted)


def allowed(last: Layer, matching: Matching, masks: Sequence[Tensor]) -> Tensor:
    """Return where each query may look under guidance: its target's mask, everywhere when it has none. bool [B, Q, h,
    w]."""
    free = torch.ones_like(last.masks, dtype=torch.bool)
    targets = torch.cat([mask[:, None] for mask in masks]).float()
    if len(targets):
        kept = matching.queries[-1] >= 0
        small = F.interpolate(targets, size=last.masks.shape[-2:], mode="nearest")[:, 0].bool()
        free[matching.images[kept], matching.queries[-1][kept]] = small[kept]
    return free
