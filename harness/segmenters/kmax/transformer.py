"""k-means cross-attention (kMaX-DeepLab, Yu et al., ECCV 2022) assigns pixels to centres, then moves the centres.

Cluster centres are kept as maps [B, channels, slots, 1], so that the same layers serve them and pixels.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.segmenters.deeplab_backbones.layers import (
    ACTIVATIONS,
    Activation,
    ConvNorm,
    DropPath,
    NormLayer,
    truncated_normal_,
)
from harness.segmenters.kmax.options import Model
from harness.segmenters.panoptic_deeplab.decoder import Head

VOID_PRIOR = 0.9
"""Probability of no object that a new network starts from."""


class Clusters(NamedTuple):
    """`classes` logits [B, slots, K + 1], the last of none; `masks` logits [B, slots, h, w]; `embedding` [B, C, h, w],
    for each pixel of length one.
    """

    classes: Tensor
    masks: Tensor
    embedding: Tensor


class Predictor(nn.Module):
    """This says which slot each pixel belongs to and which class each slot has (the head of MaX-DeepLab)."""

    def __init__(self, pixels: int, options: Model, num_classes: int, norm: NormLayer, activation: Activation) -> None:
        super().__init__()
        self.pixel_head = Head(
            pixels,
            options.head_channels,
            options.embedding,
            kind=options.convolution,
            norm=norm,
            activation=activation,
        )
        nn.init.trunc_normal_(self.pixel_head.predict.weight, std=0.01, a=-0.02, b=0.02)
        self.pixel_norm = norm(options.embedding)
        self.mask_head = ConvNorm(options.hidden, options.embedding, 1, norm=norm, activation=None)
        self.mask_norm = norm(1)
        nn.init.constant_(self.mask_norm.weight, 0.1)
        self.class_head = nn.Conv2d(options.hidden, num_classes + 1, 1)
        truncated_normal_(self.class_head.weight, 0.01)
        assert self.class_head.bias is not None
        nn.init.zeros_(self.class_head.bias)
        self.void = math.log(num_classes * VOID_PRIOR / (1 - VOID_PRIOR))

    def forward(self, pixels: Tensor, for_class: Tensor, for_mask: Tensor) -> Clusters:
        """Predict from pixels [B, C, h, w] and centres [B, hidden, slots, 1], given for the class and for the mask."""
        embedding = F.normalize(self.pixel_norm(self.pixel_head(pixels)).float(), dim=1)
        kernels = self.mask_head(for_mask)[..., 0]
        masks = torch.einsum("bchw,bcs->bshw", embedding, kernels.float())
        # One norm for all slots: none gets a bias of its own.
        masks = self.mask_norm(masks.flatten(1, 2).unsqueeze(1))[:, 0].unflatten(1, masks.shape[1:3])
        classes = self.class_head(for_class)[..., 0].transpose(1, 2)
        return Clusters(classes + F.pad(classes.new_tensor([self.void]), (classes.shape[-1] - 1, 0)), masks, embedding)


class KMeansLayer(nn.Module):
    """Centres [B, hidden, slots, 1] gather the pixels they win, attend to one another and pass a feed-forward net."""

    def __init__(self, pixels: int, options: Model, num_classes: int, norm: NormLayer, activation: Activation) -> None:
        super().__init__()
        hidden, self.activation = options.hidden, activation
        self.heads, self.sizes = options.heads, (options.key, options.key, hidden)
        self.centre_in = ConvNorm(hidden, hidden, 1, norm=norm, activation=activation)
        self.pixel_in = ConvNorm(pixels, hidden, 1, norm=norm, activation=activation)
        self.qkv = ConvNorm(hidden, 2 * options.key + hidden, 1, norm=norm, activation=None)
        self.value = ConvNorm(hidden, hidden, 1, norm=norm, activation=None)
        for layer in (self.qkv, self.value):
            truncated_normal_(layer.kernel, hidden**-0.5)
        self.predictor = Predictor(hidden, options, num_classes, norm, activation)
        self.gathered_norm, self.similarity_norm, self.retrieved_norm = norm(hidden), norm(options.heads), norm(hidden)
        self.gathered_out, self.attended_out, self.thought_out = (
            ConvNorm(inputs, hidden, 1, norm=norm, activation=None) for inputs in (hidden, hidden, options.feedforward)
        )
        for layer in (self.gathered_out, self.attended_out, self.thought_out):
            nn.init.zeros_(layer.norm.weight)
        self.thought_in = ConvNorm(hidden, options.feedforward, 1, norm=norm, activation=activation)
        self.drop_path = DropPath(options.drop_path)

    def forward(self, pixels: Tensor, centres: Tensor) -> tuple[Tensor, Clusters]:
        """Return the new centres, and the prediction that pixels were assigned by; `pixels`: a raw map [B, C, h, w]."""
        inner, seen = self.centre_in(centres), self.pixel_in(self.activation(pixels))
        clusters = self.predictor(seen, inner, inner)
        gathered = self._gather(self.value(seen), clusters.masks)
        x = centres + self.drop_path(self.gathered_out(self.gathered_norm(gathered)))
        x = self.activation(x + self.drop_path(self.attended_out(self._attend(inner))))
        x = self.activation(x + self.drop_path(self.thought_out(self.thought_in(x))))
        return x, clusters

    def _gather(self, values: Tensor, masks: Tensor) -> Tensor:
        """Return the sum of the values of the pixels that a slot wins, [B, hidden, slots, 1]; the choice has no
        gradient.
        """
        batch, slots = masks.shape[:2]
        winner = masks.detach().argmax(1).flatten(1)
        sums = values.new_zeros(batch, values.shape[1], slots)
        sums = sums.scatter_add(2, winner[:, None].expand(-1, values.shape[1], -1), values.flatten(2))
        return sums[..., None]

    def _attend(self, centres: Tensor) -> Tensor:
        """Self-attention of the centres; similarities are normalised by head instead of scaled."""
        parts = self.qkv(centres)[..., 0].split(self.sizes, 1)
        q, k, v = (part.unflatten(1, (self.heads, -1)) for part in parts)
        weights = self.similarity_norm(torch.einsum("bhdl,bhdm->bhlm", q, k)).softmax(-1)
        found = torch.einsum("bhlm,bhdm->bhdl", weights, v.to(weights.dtype)).flatten(1, 2)
        return self.activation(self.retrieved_norm(found[..., None]))


class Transformer(nn.Module):
    """Cluster centres, the layers that move them, and the last prediction.

    `channels`: of the pixel decoder's maps, coarse to fine. Layers read the first three; the last map is predicted on.
    """

    def __init__(self, channels: list[int], options: Model, num_classes: int, norm: NormLayer, activation: str) -> None:
        super().__init__()
        chosen = ACTIVATIONS[activation]
        self.centres = nn.Embedding(options.slots, options.hidden)
        truncated_normal_(self.centres.weight, 1.0)
        self.levels = [level for level, count in enumerate(options.layers) for _ in range(count)]
        self.layers = nn.ModuleList(
            KMeansLayer(channels[level], options, num_classes, norm, chosen) for level in self.levels
        )
        self.class_embedding, self.mask_embedding = (
            ConvNorm(options.hidden, options.hidden, 1, norm=norm, activation=chosen) for _ in range(2)
        )
        self.predictor = Predictor(channels[-1], options, num_classes, norm, chosen)

    def forward(self, maps: list[Tensor]) -> list[Clusters]:
        """Return the prediction that each layer assigned pixels by, and the last one at the end."""
        centres = self.centres.weight.T[None, :, :, None].expand(len(maps[0]), -1, -1, -1)
        found = []
        for level, layer in zip(self.levels, self.layers, strict=True):
            centres, clusters = layer(maps[level], centres)
            found.append(clusters)
        return [*found, self.predictor(maps[-1], self.class_embedding(centres), self.mask_embedding(centres))]
