"""What the layers of Google's DeepLab2 compute, in NumPy and channels last, written from their description.

A `Reference` makes a variable when a layer first asks for it, under TensorFlow's name and in its shape; after a forward
pass `variables` is a checkpoint. Everything is in evaluation mode and double precision.
"""

import math

import numpy as np
from scipy.special import erf


class Reference:
    """Layers over drawn variables; `gelu`: activations are GELU instead of ReLU."""

    def __init__(self, *, seed: int = 0, gelu: bool = False) -> None:
        self.rng, self.gelu = np.random.default_rng(seed), gelu
        self.variables: dict[str, np.ndarray] = {}

    def variable(self, name, shape, low, high):
        if name not in self.variables:
            self.variables[name] = self.rng.uniform(low, high, shape).astype(np.float32)
        assert self.variables[name].shape == tuple(shape), name
        return self.variables[name].astype(np.float64)

    def kernel(self, name, shape):
        bound = (3 / np.prod(shape[:-1])) ** 0.5
        return self.variable(name, shape, -bound, bound)

    def act(self, x):
        return x * (1 + erf(x / 2**0.5)) / 2 if self.gelu else np.maximum(x, 0)

    def norm(self, x, name, axes=(-1,), gain=(0.5, 1.5)):
        """Batch norm; over several axes keras keeps the shape of x with ones elsewhere, over one it is a vector."""
        kept = {axis % x.ndim for axis in axes}
        wide = [size if axis in kept else 1 for axis, size in enumerate(x.shape)]
        shape = wide if len(axes) > 1 else [x.shape[axes[0]]]
        ranges = {"gamma": gain, "beta": (-0.2, 0.2), "moving_mean": (-0.2, 0.2), "moving_variance": (0.5, 1.5)}
        gamma, beta, mean, variance = (
            self.variable(f"{name}/{kind}", shape, *limits).reshape(wide) for kind, limits in ranges.items()
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def conv(self, x, name, outputs, kernel=1, *, stride=1, rate=1, bias=False):
        y = convolved(x, self.kernel(f"{name}/kernel", (kernel, kernel, x.shape[-1], outputs)), stride, rate)
        return y + self.variable(f"{name}/bias", (outputs,), -0.2, 0.2) if bias else y

    def conv_norm(self, x, name, outputs, kernel=1, *, stride=1, rate=1, act=True, gain=(0.5, 1.5), sac=False):
        if sac:
            x = self.context(x, f"{name}/_pre_global_context")
        y = self.conv(x, f"{name}/_conv", outputs, kernel, stride=stride, rate=rate)
        if sac and stride == 1:
            switch = self.conv(mean_around(x, 5), f"{name}/_conv/_switch", 1, bias=True)
            y = switch * convolved(x, self.variables[f"{name}/_conv/kernel"], 1, 3 * rate) + (1 - switch) * y
        if sac:
            y = self.context(y, f"{name}/_post_global_context")
        y = self.norm(y, f"{name}/_batch_norm", gain=gain)
        return self.act(y) if act else y

    def context(self, x, name):
        return x + self.conv(x.mean((1, 2), keepdims=True), f"{name}/convolution", x.shape[-1], bias=True)

    def separable(self, x, name, outputs, kernel=5):
        weights = self.kernel(f"{name}/_depthwise/_depthwise_conv/depthwise_kernel", (kernel, kernel, x.shape[-1], 1))
        parts = [convolved(x[..., [c]], weights[:, :, [c]], 1, 1) for c in range(x.shape[-1])]
        y = self.act(self.norm(np.concatenate(parts, -1), f"{name}/_depthwise/_batch_norm"))
        return self.conv_norm(y, f"{name}/_pointwise", outputs)

    def line(self, x, name, outputs, *, act=True, gain=(0.5, 1.5)):
        """A convolution along [B, L, C] of width one, with batch norm."""
        y = self.norm(
            x @ self.kernel(f"{name}/_conv/kernel", (1, x.shape[-1], outputs))[0], f"{name}/_batch_norm", gain=gain
        )
        return self.act(y) if act else y

    def attention(self, x, name, key, value, heads=8):
        """Axial attention along the second axis of [N, L, C], with all three terms and both retrievals."""
        n, length, channels = x.shape
        qkv = self.norm(x @ self.kernel(f"{name}/qkv_kernel", (channels, 2 * key + value)), f"{name}/_batch_norm_qkv")
        q, k, v = (
            part.reshape(n, length, heads, -1).transpose(0, 2, 1, 3) for part in np.split(qkv, [key, 2 * key], axis=-1)
        )
        place = np.clip(np.arange(length)[None] - np.arange(length)[:, None] + 254, 0, 508)
        rq, rk, rv = (
            self.variable(f"{name}/_{kind}_rpe/embeddings", (509, depth // heads), -1.5, 1.5)[place]
            for kind, depth in (("query", key), ("key", key), ("value", value))
        )
        similar = np.stack(
            [
                np.einsum("bhld,bhmd->bhlm", q, k),
                np.einsum("bhld,lmd->bhlm", q, rq),
                np.einsum("bhmd,lmd->bhlm", k, rk),
            ]
        )
        weights = softmax(self.norm(similar, f"{name}/_batch_norm_similarity", (0, 2)).sum(0), -1)
        found = np.stack([np.einsum("bhlm,bhmd->bhld", weights, v), np.einsum("bhlm,lmd->bhld", weights, rv)])
        found = self.norm(found, f"{name}/_batch_norm_retrieved_output", (0, 2, 4)).sum(0)
        return found.transpose(0, 2, 1, 3).reshape(n, length, value)

    def axial(self, x, name, key, value, stride=1):
        """Along the height, then along the width; a stride drops rows after the first, columns after the second."""
        b, h, w, c = x.shape
        y = self.attention(x.transpose(0, 2, 1, 3).reshape(b * w, h, c), f"{name}/_height_axis", key, value)
        y = y.reshape(b, w, h, value).transpose(0, 2, 1, 3)[:, ::stride]
        rows = y.shape[1]
        y = self.attention(y.reshape(b * rows, w, value), f"{name}/_width_axis", key, value)
        return y.reshape(b, rows, w, value)[:, :, ::stride]

    def block(self, x, name, filters, *, stride=1, rates=(1,), axial=None, sac=False):
        """A residual block; `axial`: channels of keys and values."""
        x = self.act(x)
        shortcut = x[:, ::stride, ::stride]
        if x.shape[-1] != filters[-1]:
            shortcut = self.conv_norm(x, f"{name}/_shortcut", filters[-1], stride=stride, act=False)
        small = {"act": False, "gain": (0.1, 0.3)}
        if len(filters) == 2:
            y = self.conv_norm(x, f"{name}/_conv1_bn_act", filters[0], 3, stride=stride, rate=rates[0], sac=sac)
            return shortcut + self.conv_norm(y, f"{name}/_conv2_bn", filters[1], 3, rate=rates[-1], sac=sac, **small)
        y = self.conv_norm(x, f"{name}/_conv1_bn_act", filters[0])
        if axial:
            y = self.act(self.axial(y, f"{name}/_attention", *axial, stride=stride))
        else:
            y = self.conv_norm(y, f"{name}/_conv2_bn_act", filters[1], 3, stride=stride, rate=rates[0], sac=sac)
        return shortcut + self.conv_norm(y, f"{name}/_conv3_bn", filters[2], **small)

    def decoder(self, maps, name, low, channels, *, pyramid, rates):
        """ASPP (or its last convolution alone) on res5, then fusions with res3 and res2."""
        x = maps["res5"]
        if rates:
            image = self.conv_norm(x.mean((1, 2), keepdims=True), f"{name}/_aspp/_aspp_pool/_conv_bn_act", pyramid)
            x = np.concatenate(
                [
                    self.conv_norm(x, f"{name}/_aspp/_conv_bn_act", pyramid),
                    *(
                        self.conv_norm(x, f"{name}/_aspp/_aspp_conv{n}/_conv_bn_act", pyramid, 3, rate=rate)
                        for n, rate in enumerate(rates, 1)
                    ),
                    np.broadcast_to(image, (*x.shape[:3], pyramid)),
                ],
                -1,
            )
        x = self.conv_norm(x, f"{name}/_aspp/_proj_conv_bn_act", pyramid)
        for number, (key, narrow) in enumerate(zip(("res3", "res2"), low, strict=True), 1):
            fine = self.conv_norm(maps[key], f"{name}/_low_level_conv{number}", narrow)
            x = np.concatenate([resized(x, fine.shape[1:3]), fine], -1)
            x = self.separable(x, f"{name}/_fusion_conv{number}/_conv1_bn_act", channels)
        return x

    def head(self, x, layers, last, channels, outputs):
        return self.conv(self.separable(x, f"{layers}/_conv1_bn_act", channels), last, outputs, bias=True)


def convolved(x, weights, stride, rate):
    """[B, H, W, C] by [k, k, C, D]; zeros around, as many on each side as the kernel reaches."""
    size = weights.shape[0]
    reach = rate * (size // 2)
    grown = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    height, width = x.shape[1:3]
    y = np.zeros((*x.shape[:3], weights.shape[-1]))
    for row in range(size):
        for column in range(size):
            window = grown[:, row * rate : row * rate + height, column * rate : column * rate + width]
            y += window @ weights[row, column].astype(np.float64)
    return y[:, ::stride, ::stride]


def mean_around(x, size):
    """The mean of the pixels that there are in a square about each."""
    ones = np.ones((size, size, 1, 1))
    counts = convolved(np.ones((1, *x.shape[1:3], 1)), ones, 1, 1)
    return np.concatenate([convolved(x[..., [c]], ones, 1, 1) for c in range(x.shape[-1])], -1) / counts


def resized(x, size):
    """Bilinearly, so that corners stay corners."""
    for axis, wanted in ((1, size[0]), (2, size[1])):
        found = x.shape[axis]
        place = np.arange(wanted) * (found - 1) / max(wanted - 1, 1)
        low = np.minimum(np.floor(place).astype(int), found - 1)
        high = np.minimum(low + 1, found - 1)
        share = (place - low).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def panoptic_deeplab(reference, images, maps, *, low, instance_low, channels, pyramids, heads, rates):
    """Class logits, heatmap and offsets (in pixels of the input) of the maps of a backbone."""
    height, width = images.shape[1:3]
    semantic = reference.decoder(maps, "semantic_decoder", low, channels[0], pyramid=pyramids[0], rates=rates)
    instance = reference.decoder(maps, "instance_decoder", instance_low, channels[1], pyramid=pyramids[1], rates=rates)
    found = {
        kind: reference.head(x, f"{name}_head_without_last_layer", last, head, outputs)
        for kind, x, name, last, head, outputs in (
            ("semantic", semantic, "semantic", "semantic_last_layer", heads[0], 19),
            ("heatmap", instance, "instance_center", "instance_center_head_last_layer", heads[1], 1),
            ("offsets", instance, "instance_regression", "instance_regression_head_last_layer", heads[1], 2),
        )
    }
    small = found["offsets"].shape[1:3]
    found["offsets"] = found["offsets"] * [(height - 1) / (small[0] - 1), (width - 1) / (small[1] - 1)]
    return {kind: resized(x, (height, width)) for kind, x in found.items()}


def kmax(reference, stages, *, bases, blocks, layers, slots, hidden, key, heads, feedforward, head, embedding):
    """Class and mask logits of every prediction, and the auxiliary class logits, from raw maps stem to stride 32."""
    r, maps = reference, stages[::-1]

    def predict(pixels, for_class, for_mask, prefix):
        x = r.head(
            pixels, f"{prefix}pixel_space_head/conv_block", f"{prefix}pixel_space_head/final_conv", head, embedding
        )
        x = r.norm(x, f"{prefix}pixel_space_feature_batch_norm")
        x = x / np.sqrt(np.maximum((x**2).sum(-1, keepdims=True), 1e-12))
        logits = for_class @ r.kernel(f"{prefix}transformer_class_head/_conv/kernel", (1, hidden, 20))[0]
        logits = logits + r.variable(f"{prefix}transformer_class_head/_conv/bias", (20,), -0.2, 0.2)
        logits[..., -1] += math.log(19 * 0.9 / 0.1)
        kernels = r.line(for_mask, f"{prefix}transformer_mask_head", embedding, act=False)
        masks = np.einsum("bhwd,bid->bhwi", x, kernels)
        return logits, r.norm(masks[..., None], f"{prefix}pixel_space_mask_batch_norm", gain=(1.5, 2.0))[..., 0]

    normed = []
    for number in range(len(bases)):
        x, name = maps[number], f"pixel_decoder/_backbone_norms/{number}"
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        gamma, beta = (r.variable(f"{name}/{kind}", x.shape[-1:], 0.5, 1.5) for kind in ("gamma", "beta"))
        normed.append(x * gamma + beta)
    x, decoded = normed[0], []
    for number, (base, count) in enumerate(zip(bases, blocks, strict=True)):
        if number:
            sides = []
            for place, side in enumerate((x, normed[number]), 1):
                if side.shape[-1] != base:
                    name = f"pixel_decoder/_skip_connections/{number - 1}/_resized_conv_bn{place}"
                    side = r.conv_norm(r.act(side), name, base, act=False)
                sides.append(resized(side, normed[number].shape[1:3]))
            x = sides[0] + sides[1]
        for block in range(count):
            name = f"pixel_decoder/_stages/{number}/_block{block + 1}"
            if number < 2:
                x = r.block(x, name, (2 * base, base, 4 * base), axial=(base, 2 * base))
            else:
                x = r.block(x, name, (base, base, 4 * base), rates=(2,))
        decoded.append(x)
    centres = np.repeat(r.variable("transformer_decoder/cluster_centers", (1, slots, hidden), -1.5, 1.5), len(x), 0)
    found = []
    levels = [level for level, count in enumerate(layers) for _ in range(count)]
    for number, level in enumerate(levels):
        name = f"transformer_decoder/_kmax_decoder/{number}/_block1_transformer/_"
        pixels = r.act(decoded[level])
        batch, height, width, channels = pixels.shape
        seen = r.line(pixels.reshape(batch, -1, channels), f"{name}pixel_conv1_bn_act", hidden)
        inner = r.line(centres, f"{name}memory_conv1_bn_act", hidden)
        values = r.line(seen, f"{name}pixel_v_conv_bn", hidden, act=False)
        prefix = f"{name}auxiliary_clustering_predictor/_"
        found.append(predict(seen.reshape(batch, height, width, hidden), inner, inner, prefix))
        winner = np.eye(slots)[found[-1][1].reshape(batch, -1, slots).argmax(-1)]
        gathered = r.norm(np.einsum("blm,bld->bmd", winner, values), f"{name}kmeans_memory_batch_norm_retrieved_value")
        x = centres + r.line(gathered, f"{name}kmeans_memory_conv3_bn", hidden, act=False, gain=(0.1, 0.3))
        qkv = r.line(inner, f"{name}memory_qkv_conv_bn", 2 * key + hidden, act=False)
        q, k, v = (
            part.reshape(batch, slots, heads, -1).transpose(0, 2, 1, 3)
            for part in np.split(qkv, [key, 2 * key], axis=-1)
        )
        similar = r.norm(np.einsum("bhld,bhmd->bhlm", q, k), f"{name}memory_attention/_batch_norm_similarity", (1,))
        retrieved = np.einsum("bhlm,bhmd->bhld", softmax(similar, -1), v)
        retrieved = r.act(r.norm(retrieved, f"{name}memory_attention/_batch_norm_retrieved_value", (1, 3)))
        retrieved = retrieved.transpose(0, 2, 1, 3).reshape(batch, slots, hidden)
        x = r.act(x + r.line(retrieved, f"{name}memory_conv3_bn", hidden, act=False, gain=(0.1, 0.3)))
        thought = r.line(x, f"{name}memory_ffn_conv1_bn_act", feedforward)
        centres = r.act(x + r.line(thought, f"{name}memory_ffn_conv2_bn", hidden, act=False, gain=(0.1, 0.3)))
    for_class, for_mask = (
        r.line(centres, f"transformer_decoder/_{kind}_embedding_projection", hidden) for kind in ("class", "mask")
    )
    found.append(predict(decoded[-1], for_class, for_mask, ""))
    return found, r.head(maps[0], "semantic_head_without_last_layer", "semantic_last_layer", head, 19)
