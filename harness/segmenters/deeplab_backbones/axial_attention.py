"""These layers apply axial attention along the width, or along height and width one after the other."""

from torch import Tensor, nn

from harness.segmenters.deeplab_backbones.attention_core import AttentionLine, Positions, attend, similarity_variances
from harness.segmenters.deeplab_backbones.layers import ConvNorm, NormLayer, move_statistics, truncated_normal_


class AxialAttention(nn.Module):
    """Position-sensitive attention along the width: [B, inputs, H, W] -> [B, value, H, W].

    `key` and `value`: channels of all heads together. `span`: pixels that one sees, None for the whole row. The batch
    norm of the similarities has channel heads * term + head; only its scale has an effect (attention_core.py), so its
    bias never has a gradient. Values and value encodings are normalised apart and added; nothing projects the sum.
    """

    def __init__(
        self, inputs: int, *, key: int, value: int, heads: int, span: int | None, distances: int, norm: NormLayer
    ) -> None:
        super().__init__()
        self.heads, self.span = heads, span
        self.sizes = (key, key, value)
        self.qkv = ConvNorm(inputs, 2 * key + value, 1, norm=norm, activation=None)
        truncated_normal_(self.qkv.kernel, inputs**-0.5)
        self.similarity_norm = norm(3 * heads)
        depths = (key // heads, key // heads, value // heads)
        self.query_position, self.key_position, self.value_position = (
            nn.Embedding(2 * distances - 1, depth) for depth in depths
        )
        for table in (self.query_position, self.key_position, self.value_position):
            truncated_normal_(table.weight, 1.0)
        self.content_norm, self.position_norm = norm(value), norm(value)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        q, k, v = (self._lines(part) for part in self.qkv(x).split(self.sizes, 1))
        positions = Positions(self.query_position.weight, self.key_position.weight, self.value_position.weight)
        line = AttentionLine.of(width, self.span)
        found = attend(q, k, v, positions, self._scales(q, k, positions, line), line)
        content, place = (part.unflatten(0, (batch, height)).permute(0, 2, 4, 1, 3).flatten(1, 2) for part in found)
        return self.content_norm(content) + self.position_norm(place)

    def _lines(self, x: Tensor) -> Tensor:
        """[B, heads * d, H, W] as [B * H, heads, W, d]."""
        return x.unflatten(1, (self.heads, -1)).permute(0, 3, 1, 4, 2).flatten(0, 1)

    def _scales(self, q: Tensor, k: Tensor, positions: Positions, line: AttentionLine) -> Tensor:
        """Return what the batch norm of the similarities multiplies them by, [3, heads]. Training moves its
        statistics."""
        norm = self.similarity_norm
        if self.training:
            mean, variance = similarity_variances(q, k, positions, line)
            move_statistics(norm, mean.flatten(), variance.flatten(), len(q) * line.pairs)
            variance = variance.to(norm.weight)
        else:
            assert norm.running_var is not None
            variance = norm.running_var.unflatten(0, (3, self.heads))
        return norm.weight.unflatten(0, (3, self.heads)) * (variance + norm.eps).rsqrt()


class AxialAttention2d(nn.Module):
    """Attention along the height, then along the width; with stride 2, every other row goes after the first and every
    other column after the second.
    """

    def __init__(
        self,
        inputs: int,
        *,
        key: int,
        value: int,
        heads: int,
        span: int | None,
        distances: int,
        norm: NormLayer,
        stride: int,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.height, self.width = (
            AxialAttention(channels, key=key, value=value, heads=heads, span=span, distances=distances, norm=norm)
            for channels in (inputs, value)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.height(x.transpose(2, 3)).transpose(2, 3)
        return self.width(x[:, :, :: self.stride])[..., :: self.stride]
