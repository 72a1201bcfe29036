"""The dual-path decoder of FastInst updates pixels by the queries, then the queries by the new pixels.

Tensors are [B, Q, C] (queries) and [B, P, C] (pixels of the 1/8 map, row by row); attention masks are True where a
query may look.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.segmenters.criterion import Layer
from harness.segmenters.fastinst.proposals import QueryProposal

Guide = Callable[[Sequence[Layer], Tensor], Tensor]


class State(NamedTuple):
    """Queries and pixels between two layers."""

    queries: Tensor
    pixels: Tensor


class Decoded(NamedTuple):
    """`layers`: predictions before the first layer and after each, in order; `guided`: those under the true masks."""

    layers: list[Layer]
    guided: list[Layer]
    proposal_logits: Tensor
    locations: Tensor


class Decoder(nn.Module):
    """Updates queries and pixels in `depth` layers, and predicts before the first layer and after each."""

    def __init__(
        self,
        *,
        hidden: int,
        queries: int,
        peak_floor: float,
        auxiliary: int,
        depth: int,
        heads: int,
        feedforward: int,
        num_classes: int,
        located: bool,
        coarser: int,
    ) -> None:
        super().__init__()
        self.auxiliary, self.located, self.coarser = auxiliary, located, coarser
        side = round(queries**0.5)
        # The released code leaves this table uninitialised (torch.empty); waves say from the first step what is where.
        self.positions = nn.Parameter(waves(hidden, side))
        self.auxiliary_content = nn.Embedding(auxiliary, hidden)
        self.auxiliary_position = nn.Embedding(auxiliary, hidden)
        self.proposal = QueryProposal(hidden, queries, num_classes, peak_floor)
        self.layers = nn.ModuleList(DualPathLayer(hidden, heads, feedforward) for _ in range(depth))
        self.predictors = nn.ModuleList(Predictor(hidden, num_classes) for _ in range(depth + 1))

    def forward(self, maps: Sequence[Tensor], guide: Guide | None = None) -> Decoded:
        """`maps`: [..., 1/16, 1/8]. `guide(layers, locations)`: masks [B, Q, h, w] where the queries ought to look."""
        maps = [maps[-1 - self.coarser], maps[-1]]
        if self.located:
            maps = [features + _resized(self.positions, features) for features in maps]
        size = maps[-1].shape[-2:]
        places = _resized(self.positions, maps[-1]).flatten(2).transpose(1, 2)
        proposals = self.proposal(maps[0], _resized(self.positions, maps[0]))
        batch, count = proposals.content.shape[:2]
        queries = torch.cat([proposals.content, self.auxiliary_content.weight.expand(batch, -1, -1)], dim=1)
        whereabouts = torch.cat([proposals.position, self.auxiliary_position.weight.expand(batch, -1, -1)], dim=1)
        states = [State(queries, maps[-1].flatten(2).transpose(1, 2))]
        layers = [self.predictors[0](states[0], count, size)]
        for layer, predictor in zip(self.layers, self.predictors[1:], strict=True):
            seen = attention_mask(layers[-1].masks.detach() >= 0, free=self.auxiliary)
            states.append(layer(states[-1], whereabouts, places, seen))
            layers.append(predictor(states[-1], count, size))
        guided: list[Layer] = []
        if guide is not None:
            seen = attention_mask(guide(layers, proposals.location), free=self.auxiliary)
            # As released: a layer is guided on its own output, not on its input.
            for layer, predictor, state in zip(self.layers, self.predictors[1:], states[1:], strict=True):
                guided.append(predictor(layer(state, whereabouts, places, seen), count, size))
        return Decoded(layers, guided, proposals.logits, proposals.location)


class DualPathLayer(nn.Module):
    """Pixel update, then query update; post-norm throughout."""

    def __init__(self, hidden: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.pixel_attention = Attention(hidden, heads)
        self.pixel_feedforward = FeedForward(hidden, feedforward)
        self.query_attention = Attention(hidden, heads)
        self.self_attention = Attention(hidden, heads)
        self.query_feedforward = FeedForward(hidden, feedforward)

    def forward(self, state: State, whereabouts: Tensor, places: Tensor, seen: Tensor) -> State:
        """Return the next state; `whereabouts` and `places`: position embeddings of queries and pixels; `seen`: what
        each query may look at (`attention_mask`).
        """
        queries, pixels = state
        pixels = self.pixel_feedforward(self.pixel_attention(pixels, places, queries, whereabouts))
        queries = self.query_attention(queries, whereabouts, pixels, places, seen)
        queries = self.query_feedforward(self.self_attention(queries, whereabouts, queries, whereabouts))
        return State(queries, pixels)


class Attention(nn.Module):
    """Multi-head attention with a residual and a norm; positions join queries and keys, not values.

    Holds torch's own module for its weights. Its forward pass would copy every tensor into another order and back,
    which costs more here than the attention itself.
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.norm = nn.LayerNorm(hidden)
        nn.init.xavier_uniform_(self.attention.out_proj.weight)

    def forward(
        self, x: Tensor, x_position: Tensor, memory: Tensor, position: Tensor, allowed: Tensor | None = None
    ) -> Tensor:
        """`x` [B, N, C] looks at `memory` [B, M, C]; `allowed`: bool [B, 1, N, M], everywhere without it."""
        own = self.attention
        projections = zip(own.in_proj_weight.chunk(3), own.in_proj_bias.chunk(3), strict=True)
        query, key, value = (
            F.linear(tensor, *projection).unflatten(2, (own.num_heads, -1)).transpose(1, 2)
            for tensor, projection in zip((x + x_position, memory + position, memory), projections, strict=True)
        )
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self.norm(x + own.out_proj(found.transpose(1, 2).flatten(2)))


class FeedForward(nn.Module):
    """Two linear layers with a residual and a norm."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(hidden, width), nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden)
        for linear in (self.inner, self.outer):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Turn [..., C] into the same shape."""
        return self.norm(x + self.outer(F.relu(self.inner(x))))


class Predictor(nn.Module):
    """Class and mask of each query at one depth; masks are dot products with a projection of the pixels."""

    def __init__(self, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.classes = _mlp(hidden, num_classes + 1)
        self.embed = _mlp(hidden, hidden)
        self.features = nn.Linear(hidden, hidden)

    def forward(self, state: State, count: int, size: tuple[int, int]) -> Layer:
        """Predictions of the first `count` queries, masks at `size`."""
        queries = self.norm(state.queries[:, :count])
        # The projection is linear, so it can be done on the few queries: e (W p + b) = (e W) p + e b.
        embedded = self.embed(queries)
        masks = (embedded @ self.features.weight) @ state.pixels.transpose(1, 2) + (embedded @ self.features.bias)[
            ..., None
        ]
        return Layer(self.classes(queries), masks.unflatten(2, size))


def attention_mask(seen: Tensor, *, free: int) -> Tensor:
    """bool [B, 1, Q + free, P] for all heads alike from [B, Q, h, w]; the last `free` queries look everywhere, and so
    does a query that would look nowhere.
    """
    seen = F.pad(seen.flatten(2), (0, 0, 0, free), value=True)
    return (seen | ~seen.any(-1, keepdim=True))[:, None]


def waves(channels: int, side: int) -> Tensor:
    """Return a table [1, channels, side, side] of sines and cosines of x and of y, from half a wave to side / 3
    waves."""
    count = channels // 4
    cells = torch.arange(side)
    # With a device of its own: transformers exchanges torch.linspace while it loads, and torch may then forget that a
    # default device (meta, in a rehearsal) holds for it.
    frequencies = 2 * math.pi * 0.5 * (max(side, 2) / 1.5) ** torch.linspace(0, 1, count, device=cells.device)
    angles = (cells + 0.5) / side * frequencies[:, None]
    along = torch.cat([angles.sin(), angles.cos()])
    over_x = along[:, None, :].expand(-1, side, -1)
    return torch.cat([over_x, over_x.transpose(1, 2)])[None].contiguous()


def _mlp(hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def _resized(table: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(table, size=like.shape[-2:], mode="bilinear", align_corners=False)
