"""This module connects Panoptic-DeepLab to the training engine: batches, losses and predictions."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.labels import IGNORE, LabelSet
from harness.data.prediction import Prediction
from harness.segmenters.deeplab_backbones.axial_resnet import AxialResNet
from harness.segmenters.deeplab_backbones.layers import NormLayer, norm_layer, resized
from harness.segmenters.deeplab_backbones.normalise import deeplab_pixels
from harness.segmenters.deeplab_backbones.options import backbone_options
from harness.segmenters.deeplab_backbones.weights import DeepLab, start
from harness.segmenters.loader import Batch
from harness.segmenters.network import Sample
from harness.segmenters.options import Backbone
from harness.segmenters.panoptic_deeplab import grouping, losses
from harness.segmenters.panoptic_deeplab.centre_targets import Targets, targets
from harness.segmenters.panoptic_deeplab.decoder import Decoder, Head, Pyramid
from harness.segmenters.panoptic_deeplab.options import Inference, Model
from harness.segmenters.postprocess import elected


class Answers(NamedTuple):
    """Head outputs at input size: class logits [B, K, H, W], heatmap [B, H, W], offsets [B, 2, H, W] in pixels."""

    semantic: Tensor
    heatmap: Tensor
    offsets: Tensor


class PanopticDeepLabNetwork(DeepLab[Inference]):
    """Backbone, two decoders, three heads."""

    class_heads = r"semantic_head\.predict\.(weight|bias)"
    options: Model

    def __init__(self, backbone: AxialResNet, options: Model, labels: LabelSet) -> None:
        super().__init__()
        self.options, self.labels = options, labels
        self.backbone = backbone
        norm = norm_layer(eps=backbone.options.norm_eps, momentum=backbone.options.norm_momentum)
        wide, narrow = options.decoder_channels, options.instance_decoder_channels
        self.semantic_decoder = self._decoder(options.low_level, wide, options.aspp_channels, norm)
        self.instance_decoder = self._decoder(options.instance_low_level, narrow, options.instance_aspp_channels, norm)
        classes, head = len(labels.evaluated), options.instance_head_channels
        self.semantic_head = Head(wide, options.head_channels, classes, kind=options.convolution, norm=norm)
        self.center_head = Head(narrow, head, 1, kind=options.center_convolution, norm=norm)
        self.offset_head = Head(narrow, head, 2, kind=options.convolution, norm=norm)

    @classmethod
    def build(
        cls, backbone: Backbone, options: Model, labels: LabelSet, *, shape: dict[str, Any] | None
    ) -> "PanopticDeepLabNetwork":
        """See `SegmenterAdapter.build`."""
        config = shape["backbone"] if shape is not None else backbone.config
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
        """Crops as pixels and maps of targets; padding teaches nothing."""
        inputs = self._pixels([sample.image for sample in samples])
        found = [self._targets(sample.ids) for sample in samples]
        maps = {name: torch.from_numpy(np.stack([getattr(each, name) for each in found])) for name in Targets._fields}
        height, width = samples[0].ids.shape
        grown = (0, inputs.shape[-1] - width, 0, inputs.shape[-2] - height)
        return {"pixels": inputs} | {
            name: F.pad(value, grown, value=IGNORE if name == "classes" else 0) for name, value in maps.items()
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses: of classes, centres and offsets."""
        found, options = self.answers(batch["pixels"]), self.options
        semantic = losses.semantic_loss(found.semantic, batch["classes"], batch["weights"], options.hardest)
        center = losses.heatmap_loss(found.heatmap, batch["heatmap"], batch["heatmap_weights"])
        offset = losses.offset_loss(found.offsets, batch["offsets"], batch["offset_weights"])
        return {
            "semantic": options.semantic_weight * semantic,
            "center": options.center_weight * center,
            "offset": options.offset_weight * offset,
        }

    def answers(self, inputs: Tensor) -> Answers:
        """Return the outputs of the heads for normalised pixels [B, 3, H, W], at their size."""
        size, corners = (inputs.shape[-2], inputs.shape[-1]), self.options.align_corners
        maps = self.backbone.activated(self.backbone(inputs))
        finer = list(maps)[len(self.options.low_level) : 0 : -1]
        semantic = self.semantic_head(self.semantic_decoder(maps.res5, finer))
        instance = self.instance_decoder(maps.res5, finer)
        offsets = self.offset_head(instance)
        # An offset is predicted in cells; with aligned corners n cells span n - 1 steps.
        scale = [(whole - corners) / (part - corners) for whole, part in zip(size, offsets.shape[-2:], strict=True)]
        offsets = offsets * torch.tensor(scale, device=offsets.device)[:, None, None]
        return Answers(
            resized(semantic, size, align_corners=corners),
            resized(self.center_head(instance), size, align_corners=corners)[:, 0],
            resized(offsets, size, align_corners=corners),
        )

    @torch.no_grad()
    def predict(self, images: Sequence[np.ndarray], inference: Inference) -> list[Prediction]:
        """Predict for images of one size."""
        found = self.answers(self._pixels(images).to(next(self.parameters()).device))
        height, width = images[0].shape[:2]
        whole = Answers(*(part[..., :height, :width].float() for part in found))
        return [self._prediction(*each, inference) for each in zip(*whole, strict=True)]

    def _prediction(self, semantic: Tensor, heatmap: Tensor, offsets: Tensor, inference: Inference) -> Prediction:
        chances, classes = semantic.softmax(0), self.labels.evaluated
        things = torch.tensor([label.is_thing for label in classes], device=chances.device)
        peaks = grouping.centres(
            heatmap, threshold=inference.center_threshold, kernel=inference.nms_kernel, top_k=inference.top_k
        )
        grouped = grouping.group(chances, heatmap, offsets, peaks, things)
        panorama, segments = grouping.panoptic(chances.argmax(0), grouped, classes, stuff_area=inference.stuff_area)
        return Prediction(
            instances=grouping.instances(grouped, classes, min_score=inference.min_score),
            semantic=elected(chances, classes),
            votes=chances.cpu().numpy() if self.keep_votes else None,
            panoptic=panorama,
            segments=segments,
        )

    def _decoder(self, projected: Sequence[int], channels: int, pyramid: int, norm: NormLayer) -> Decoder:
        options, stride = self.options, self.backbone.options.output_stride
        crop = options.aspp_crop
        window = ((crop[0] - 1) // stride + 1, (crop[1] - 1) // stride + 1) if crop else None
        return Decoder(
            self.backbone.channels[-1],
            self.backbone.channels[len(projected) : 0 : -1],
            projected=projected,
            channels=channels,
            pyramid=Pyramid(options.aspp, pyramid, options.aspp_rates, window, options.dropout),
            kind=options.convolution,
            norm=norm,
            align_corners=options.align_corners,
        )

    def _pixels(self, images: Sequence[np.ndarray]) -> Tensor:
        return deeplab_pixels(
            images,
            normalisation=self.options.normalisation,
            stride=self.backbone.options.output_stride,
            corners=self.options.align_corners,
        )

    def _targets(self, ids: np.ndarray) -> Targets:
        options = self.options
        return targets(
            ids,
            self.labels,
            sigma=options.sigma,
            small_area=options.small_area,
            small_weight=options.small_weight,
        )
