"""This module computes position-sensitive attention along a line (Axial-DeepLab, Wang et al., ECCV 2020, equation 4)
with little memory.

The similarity of query l and key m is BN(q_l . k_m) + BN(q_l . rq[m - l]) + BN(k_m . rk[m - l]), each batch norm with a
channel per head. A softmax over m does not see what a head adds to all its similarities, so of the three norms only the
scales gamma / sqrt(variance) are left. They are folded into queries and keys, and one map is made instead of six. The
variances of a training batch need no map either where all see all: they follow from sums of q q^T, k k^T and r r^T.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recomputed

LARGEST_MAP = 2**24
"""Weights (rows x heads x queries x keys) that are computed at a time; what exceeds them is cut by rows, and the pieces
are computed again in the backward pass instead of being kept.
"""


class Positions(NamedTuple):
    """Encodings of distances: query and key [P, dk], value [P, dv], P odd; the middle row is of distance 0."""

    query: Tensor
    key: Tensor
    value: Tensor


class AttentionLine(NamedTuple):
    """`length` pixels, of which each sees those at most `reach` away.

    Queries are cut into `blocks` of `block`; the keys of a block are its own pixels and `flange` on both sides.
    """

    length: int
    reach: int
    block: int
    blocks: int
    flange: int

    @classmethod
    def of(cls, length: int, span: int | None) -> "AttentionLine":
        """Lines of `length` pixels; `span`: pixels that one sees, None for all."""
        if span is None or span // 2 >= length - 1:
            return cls(length, length - 1, length, 1, 0)
        block = min(span - 1, length)
        return cls(length, span // 2, block, math.ceil(length / block), span // 2)

    @property
    def whole(self) -> bool:
        """Return whether every pixel sees every other."""
        return self.reach == self.length - 1

    @property
    def keys(self) -> int:
        """Keys of a block, those out of reach or off the line included."""
        return self.block + 2 * self.flange

    @property
    def pairs(self) -> int:
        """Pairs of pixels that see each other."""
        return self.length * (2 * self.reach + 1) - self.reach * (self.reach + 1)

    def at_a_time(self, heads: int) -> int:
        """Lines whose weights are computed together."""
        return max(1, LARGEST_MAP // (heads * self.blocks * self.block * self.keys))

    def queries_of(self, x: Tensor) -> Tensor:
        """[N, h, L, d] in blocks, [N, h, blocks, block, d]."""
        grown = F.pad(x, (0, 0, 0, self.block * self.blocks - self.length))
        return grown.unflatten(2, (self.blocks, self.block))

    def keys_of(self, x: Tensor) -> Tensor:
        """[N, h, L, d] as the keys of each block, [N, h, blocks, keys, d], zero off the line."""
        if self.whole:
            return x.unsqueeze(2)
        end = self.flange + self.block * self.blocks - self.length
        return F.pad(x, (0, 0, self.flange, end)).unfold(2, self.keys, self.block).transpose(-1, -2).contiguous()

    def encodings_of(self, table: Tensor) -> Tensor:
        """Return the encoding of each pair of a block, [block, keys, d]; `table` [P, d]."""
        middle = len(table) // 2
        key = torch.arange(self.keys, device=table.device) - self.flange
        query = torch.arange(self.block, device=table.device)
        return table[(key[None] - query[:, None] + middle).clamp(0, len(table) - 1)]

    def hidden(self, device: torch.device) -> Tensor | None:
        """Return which pairs of a block do not see each other, bool [blocks, block, keys]; None when all do."""
        if self.whole:
            return None
        first = torch.arange(self.blocks, device=device)[:, None, None] * self.block
        query = first + torch.arange(self.block, device=device)[None, :, None]
        key = first + torch.arange(self.keys, device=device)[None, None] - self.flange
        return ((key - query).abs() > self.reach) | (key < 0) | (key >= self.length)


def attend(
    q: Tensor, k: Tensor, v: Tensor, positions: Positions, scales: Tensor, line: AttentionLine
) -> tuple[Tensor, Tensor]:
    """Values and value encodings that each pixel retrieves, both [N, h, L, dv].

    q, k [N, h, L, dk], v [N, h, L, dv] for N lines and h heads; `scales` [3, h] of the three similarities.
    """
    rows = line.at_a_time(q.shape[1])
    if rows >= len(q):
        return _attend(q, k, v, *positions, scales, line)
    pieces = zip(q.split(rows), k.split(rows), v.split(rows), strict=True)
    found = [_lean(_attend, *piece, *positions, scales, line) for piece in pieces]
    return torch.cat([content for content, _ in found]), torch.cat([place for _, place in found])


def similarity_variances(q: Tensor, k: Tensor, positions: Positions, line: AttentionLine) -> tuple[Tensor, Tensor]:
    """Mean and variance of the three similarities over all pairs that see each other: float64 [3, h] each.

    Pixels beyond the end of a line count nowhere. In double precision, because a variance is taken as E[x^2] - E[x]^2.
    """
    if line.at_a_time(q.shape[1]) >= len(q):
        return _similarity_variances(q, k, positions.query, positions.key, line)
    return _lean(_similarity_variances, q, k, positions.query, positions.key, line)


def _lean(function: Callable[..., tuple[Tensor, Tensor]], *arguments: Tensor | AttentionLine) -> tuple[Tensor, Tensor]:
    """`function(*arguments)`, computed again in the backward pass."""
    found: tuple[Tensor, Tensor] = recomputed(function, *arguments, use_reentrant=False, preserve_rng_state=False)
    return found


def _similarity_variances(
    q: Tensor, k: Tensor, query_table: Tensor, key_table: Tensor, line: AttentionLine
) -> tuple[Tensor, Tensor]:
    pair = _whole_products(q, k) if line.whole else _seen_products(q, k, line)
    sums = [
        pair,
        _encoded_products(q, query_table, line, mirrored=False),
        _encoded_products(k, key_table, line, mirrored=True),
    ]
    count = len(q) * line.pairs
    mean, square = (torch.stack(parts) / count for parts in zip(*sums, strict=True))
    return mean, (square - mean.square()).clamp(min=0)


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    query_table: Tensor,
    key_table: Tensor,
    value_table: Tensor,
    scales: Tensor,
    line: AttentionLine,
) -> tuple[Tensor, Tensor]:
    content, by_query, by_key = scales.to(q.dtype)[:, None, :, None, None]
    queries, keys, values = line.queries_of(q * content), line.keys_of(k), line.keys_of(v)
    logits = queries @ keys.transpose(-1, -2)
    logits = logits + torch.einsum("nhbld,lmd->nhblm", line.queries_of(q * by_query), line.encodings_of(query_table))
    logits = logits + torch.einsum("nhbmd,lmd->nhblm", line.keys_of(k * by_key), line.encodings_of(key_table))
    hidden = line.hidden(q.device)
    if hidden is not None:
        logits = logits.masked_fill(hidden, torch.finfo(logits.dtype).min)
    weights = logits.softmax(-1)
    places = torch.einsum("nhblm,lmd->nhbld", weights, line.encodings_of(value_table).to(weights.dtype))
    found = weights @ values.to(weights.dtype)
    return found.flatten(2, 3)[:, :, : line.length], places.flatten(2, 3)[:, :, : line.length]


def _whole_products(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over all pairs of q . k and of its square, per head: [h] each."""
    q, k = q.double(), k.double()
    total = torch.einsum("nhd,nhd->h", q.sum(2), k.sum(2))
    # Where a line is shorter than its vectors, its products are fewer than the entries of q q^T.
    if q.shape[2] <= q.shape[3]:
        return total, (q @ k.transpose(-1, -2)).square().sum((0, 2, 3))
    return total, ((q.transpose(-1, -2) @ q) * (k.transpose(-1, -2) @ k)).sum((0, 2, 3))


def _seen_products(q: Tensor, k: Tensor, line: AttentionLine) -> tuple[Tensor, Tensor]:
    """As `_whole_products`, of the pairs that see each other; the maps are computed again in the backward pass."""
    rows = line.at_a_time(q.shape[1])
    found = [_lean(_products, *piece, line) for piece in zip(q.split(rows), k.split(rows), strict=True)]
    totals, squares = zip(*found, strict=True)
    return torch.stack(totals).sum(0), torch.stack(squares).sum(0)


def _products(q: Tensor, k: Tensor, line: AttentionLine) -> tuple[Tensor, Tensor]:
    products = line.queries_of(q.float()) @ line.keys_of(k.float()).transpose(-1, -2)
    # Pixels off the line are zero and add nothing; pairs out of reach must go.
    hidden = line.hidden(q.device)
    assert hidden is not None
    products = products.masked_fill(hidden, 0.0)
    total = products.sum((0, 2, 3, 4), dtype=torch.float64)
    return total, products.square().sum((0, 2, 3, 4), dtype=torch.float64)


def _encoded_products(x: Tensor, table: Tensor, line: AttentionLine, *, mirrored: bool) -> tuple[Tensor, Tensor]:
    """Sums over all pairs of x_l . r[m - l] and of its square, per head; `mirrored`: of x_m . r[m - l]."""
    x, encodings = x.double(), _of_distances(table.double(), line.reach)
    place = torch.arange(line.length, device=x.device)
    before, after = place.clamp(max=line.reach), (line.length - 1 - place).clamp(max=line.reach)
    if mirrored:
        before, after = after, before
    first, end = line.reach - before, line.reach + after + 1
    outer = encodings[:, :, None] * encodings[:, None]
    total = torch.einsum("nhld,ld->h", x, _between(encodings, first, end))
    square = torch.einsum("nhld,lde,nhle->h", x, _between(outer, first, end), x)
    return total, square


def _of_distances(table: Tensor, reach: int) -> Tensor:
    """Return the encodings of the distances -reach .. reach, [2 reach + 1, d]."""
    distance = torch.arange(-reach, reach + 1, device=table.device)
    return table[(distance + len(table) // 2).clamp(0, len(table) - 1)]


def _between(values: Tensor, first: Tensor, end: Tensor) -> Tensor:
    """Sums of values[first[i] : end[i]] along the first axis, by running sums."""
    running = F.pad(values.cumsum(0).flatten(1), (0, 0, 1, 0)).unflatten(1, values.shape[1:])
    return running[end] - running[first]
