"""This module connects kMaX-DeepLab to the training engine: batches, losses and predictions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.labels import IGNORE, LabelSet
from harness.data.prediction import Prediction
from harness.segmenters.deeplab_backbones.axial_resnet import AxialResNet
from harness.segmenters.deeplab_backbones.layers import ACTIVATIONS, norm_layer, resized
from harness.segmenters.deeplab_backbones.normalise import deeplab_pixels
from harness.segmenters.deeplab_backbones.options import backbone_options
from harness.segmenters.deeplab_backbones.weights import DeepLab, start
from harness.segmenters.kmax import answers, kmax_loss
from harness.segmenters.kmax.options import Inference, Model
from harness.segmenters.kmax.pixel_decoder import PixelDecoder
from harness.segmenters.kmax.transformer import Clusters, Transformer
from harness.segmenters.loader import Batch
from harness.segmenters.network import Sample
from harness.segmenters.options import Backbone
from harness.segmenters.panoptic_deeplab.centre_targets import targets
from harness.segmenters.panoptic_deeplab.decoder import Head
from harness.segmenters.panoptic_deeplab.losses import semantic_loss
from harness.segmenters.postprocess import elected
from harness.segmenters.targets import targets as masks_of

STRIDE = 32


class KMaXNetwork(DeepLab[Inference]):
    """Backbone, pixel decoder, transformer; a semantic head on the backbone's last map serves the training alone."""

    class_heads = r"(semantic_head\.predict|transformer\.(layers\.\d+\.)?predictor\.class_head)\.(weight|bias)"
    options: Model

    def __init__(self, backbone: AxialResNet, options: Model, labels: LabelSet) -> None:
        super().__init__()
        self.options, self.labels = options, labels
        self.backbone = backbone
        sizes = backbone.options
        norm = norm_layer(eps=sizes.norm_eps, momentum=sizes.norm_momentum)
        activation, classes = ACTIVATIONS[sizes.activation], len(self.labels.evaluated)
        coarse_to_fine = backbone.channels[::-1]
        stages = len(options.decoder_channels)
        self.pixel_decoder = PixelDecoder(
            coarse_to_fine[:stages], options.decoder_channels, options.decoder_blocks, sizes, norm
        )
        self.transformer = Transformer(self.pixel_decoder.channels, options, classes, norm, sizes.activation)
        self.semantic_head = Head(
            coarse_to_fine[0],
            options.head_channels,
            classes,
            kind=options.convolution,
            norm=norm,
            activation=activation,
        )

    @classmethod
    def build(
        cls, backbone: Backbone, options: Model, labels: LabelSet, *, shape: dict[str, Any] | None
    ) -> "KMaXNetwork":
        """See `SegmenterAdapter.build`."""
        config = shape["backbone"] if shape is not None else {"output_stride": STRIDE} | backbone.config
        network = cls(AxialResNet(backbone_options(config, backbone.label)), options, labels)
        if shape is None:
            start(network, backbone)
        return network

    @property
    def shape(self) -> dict[str, Any]:
        """All that is needed to build this network again without weights."""
        return {"backbone": self.backbone.options.model_dump(mode="json")}

    def checkpoint_gradients(self) -> None:
        """Recompute the activations of the backbone's blocks in the backward pass instead of keeping them."""
        self.backbone.recompute = True

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Crops as pixels, class maps, and for each pixel the number of its mask; padding teaches nothing."""
        inputs = self._pixels([sample.image for sample in samples])
        height, width = samples[0].ids.shape
        grown = (0, inputs.shape[-1] - width, 0, inputs.shape[-2] - height)
        owners, kinds, classes, weights = [], [], [], []
        for sample in samples:
            found = masks_of(sample.ids, "panoptic", self.labels, self.labels.evaluated)
            owner = np.full(sample.ids.shape, kmax_loss.NOBODY, np.int64)
            for number, mask in enumerate(found.masks):
                owner[mask] = number
            options = self.options
            maps = targets(
                sample.ids,
                self.labels,
                sigma=1.0,
                small_area=options.small_area,
                small_weight=options.small_weight,
            )
            owners.append(F.pad(torch.from_numpy(owner), grown, value=kmax_loss.NOBODY))
            kinds.append(torch.from_numpy(found.classes))
            classes.append(F.pad(torch.from_numpy(maps.classes), grown, value=IGNORE))
            weights.append(F.pad(torch.from_numpy(maps.weights), grown))
        return {
            "pixels": inputs,
            "owners": torch.stack(owners),
            "kinds": kinds,
            "classes": torch.stack(classes),
            "weights": torch.stack(weights),
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses: class, dice, mask and contrast over all predictions, and semantic."""
        found, semantic = self.answers(batch["pixels"])
        truths = [
            kmax_loss.truth(_strided(owner, found[-1].masks), _strided(classes, found[-1].masks) != IGNORE, kinds)
            for owner, classes, kinds in zip(batch["owners"], batch["classes"], batch["kinds"], strict=True)
        ]
        own = semantic_loss(
            semantic, _strided(batch["classes"], semantic), _strided(batch["weights"], semantic), self.options.hardest
        )
        losses = kmax_loss.losses(found, truths, self.options)
        return losses | {"semantic": self.options.semantic_weight * own}

    def answers(self, inputs: Tensor) -> tuple[list[Clusters], Tensor]:
        """Return what the transformer predicts from normalised pixels [B, 3, H, W], layer by layer, and class logits at
        stride 32."""
        maps = self.backbone(inputs)
        return self.transformer(self.pixel_decoder(maps)), self.semantic_head(maps.res5)

    @torch.no_grad()
    def predict(self, images: Sequence[np.ndarray], inference: Inference) -> list[Prediction]:
        """Predict for images of one size."""
        inputs = self._pixels(images).to(next(self.parameters()).device)
        last = self.answers(inputs)[0][-1]
        height, width = images[0].shape[:2]
        found = []
        for classes, masks in zip(last.classes, last.masks, strict=True):
            whole = resized(masks[None].float(), (inputs.shape[-2], inputs.shape[-1]), align_corners=True)[0]
            found.append(self._prediction(classes, whole[:, :height, :width], inference))
        return found

    def _prediction(self, classes: Tensor, masks: Tensor, inference: Inference) -> Prediction:
        likely, chances = classes.float().softmax(-1)[:, :-1], masks.softmax(0)
        votes = torch.einsum("sk,shw->khw", likely, chances)
        panorama, segments = answers.panoptic(likely, chances, self.labels.evaluated, inference)
        return Prediction(
            instances=answers.instances(likely, chances, self.labels.evaluated, inference),
            semantic=elected(votes, self.labels.evaluated),
            votes=votes.cpu().numpy() if self.keep_votes else None,
            panoptic=panorama,
            segments=segments,
        )

    def _pixels(self, images: Sequence[np.ndarray]) -> Tensor:
        return deeplab_pixels(images, normalisation="inception", stride=STRIDE, corners=True)


def _strided(x: Tensor, like: Tensor) -> Tensor:
    """Return every n-th pixel of [..., H, W], at the size of a map whose corners are those of the image."""
    stride = (x.shape[-1] - 1) // (like.shape[-1] - 1)
    return x[..., ::stride, ::stride]
