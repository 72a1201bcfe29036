"""Checkpoints in PyTorch: the author's and detectron2's names and layers, written out here by hand."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.segmenters import checkpoint
from harness.segmenters.options import Backbone
from harness.segmenters.panoptic_deeplab.adapter import PanopticDeepLab
from harness.segmenters.panoptic_deeplab.convert import convert, converted
from harness.segmenters.panoptic_deeplab.options import Model

SMALL = {"head_channels": 9, "instance_head_channels": 5, "decoder_channels": 10, "instance_decoder_channels": 7}
SMALL |= {"aspp_channels": 8, "instance_aspp_channels": 6, "normalisation": "imagenet"}
R52 = {"kind": "resnet_beta", "blocks": [1, 1, 1, 3], "pool": True, "multi_grid": [1, 2, 4], "norm_eps": 1e-5}
R50 = {"kind": "resnet", "blocks": [1, 2, 1, 1], "pool": True, "output_stride": 32, "norm_eps": 1e-5}
SIZES = {"width": 0.125, "stem_width": 0.25}
DETECTRON2 = SMALL | {"low_level": [6, 4], "instance_low_level": [6, 4], "aspp": "separable", "align_corners": False}
DETECTRON2 |= {"center_convolution": "double"}
AUTHOR = SMALL | {"low_level": [8, 6, 4], "instance_low_level": [4, 3, 2], "aspp_rates": (3, 6, 9)}


class Theirs:
    """Layers over drawn tensors, made when first asked for, under the names that `norm_of` and `conv_of` give."""

    def __init__(self, *, norm_of, conv_of):
        self.tensors, self.norm_of, self.conv_of = {}, norm_of, conv_of
        self.generator = torch.Generator().manual_seed(0)

    def tensor(self, name, shape, low, high):
        if name not in self.tensors:
            self.tensors[name] = torch.empty(shape).uniform_(low, high, generator=self.generator)
        return self.tensors[name]

    def norm(self, x, name, eps=1e-5):
        limits = {"weight": (0.5, 1.5), "bias": (-0.2, 0.2), "running_mean": (-0.2, 0.2), "running_var": (0.5, 1.5)}
        weight, bias, mean, var = (self.tensor(f"{name}.{k}", (x.shape[1],), *v) for k, v in limits.items())
        return F.batch_norm(x, mean, var, weight, bias, eps=eps)

    def conv(self, x, name, outputs, kernel=1, *, stride=1, dilation=1, groups=1, bias=False):
        fan = x.shape[1] // groups * kernel**2
        weight = self.tensor(
            f"{name}.weight", (outputs, x.shape[1] // groups, kernel, kernel), -((3 / fan) ** 0.5), (3 / fan) ** 0.5
        )
        bias = self.tensor(f"{name}.bias", (outputs,), -0.2, 0.2) if bias else None
        return F.conv2d(x, weight, bias, stride, dilation * (kernel // 2), dilation, groups)

    def layer(self, x, name, outputs, kernel=1, *, act=True, **options):
        """A convolution, its norm, ReLU."""
        x = self.norm(self.conv(x, self.conv_of(name), outputs, kernel, **options), self.norm_of(name))
        return F.relu(x) if act else x

    def bottleneck(self, x, names, outputs, *, stride=1, dilation=1):
        """As torchvision has it: names of the three layers and of the shortcut."""
        y = self.layer(x, names[0], outputs // 4)
        y = self.layer(y, names[1], outputs // 4, 3, stride=stride, dilation=dilation)
        y = self.layer(y, names[2], outputs, act=False)
        if x.shape[1] != outputs or stride > 1:
            x = self.layer(x, names[3], outputs, stride=stride, act=False)
        return F.relu(x + y)


def grown(x, size, *, corners):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=corners)


def detectron2(t, x):
    """R-52 with multi-grid, separable convolutions, a head of centres of two plain ones (projects/Panoptic-DeepLab)."""

    def separable(x, name, outputs, kernel=5, dilation=1):
        x = t.layer(x, f"{name}.depthwise", x.shape[1], kernel, dilation=dilation, groups=x.shape[1])
        return t.layer(x, f"{name}.pointwise", outputs)

    y = x
    for number, outputs in enumerate((16, 16, 32), 1):
        y = t.layer(y, f"backbone.stem.conv{number}", outputs, 3, stride=2 if number == 1 else 1)
    y = F.max_pool2d(y, 3, 2, 1)
    maps = {}
    for stage, count in zip((2, 3, 4, 5), R52["blocks"], strict=True):
        for block in range(count):
            name = f"backbone.res{stage}.{block}"
            stride = 2 if block == 0 and stage in (3, 4) else 1
            names = [f"{name}.{part}" for part in ("conv1", "conv2", "conv3", "shortcut")]
            dilation = 2 * (1, 2, 4)[block] if stage == 5 else 1
            y = t.bottleneck(y, names, 8 * 2**stage, stride=stride, dilation=dilation)
        maps[f"res{stage}"] = y

    def decoder(name, aspp, narrow, channels):
        y, place = maps["res5"], f"{name}.decoder.res5.project_conv"
        parts = [t.layer(y, f"{place}.convs.0", aspp)]
        parts += [separable(y, f"{place}.convs.{n}", aspp, 3, rate) for n, rate in enumerate((6, 12, 18), 1)]
        image = F.relu(t.conv(y.mean((2, 3), keepdim=True), f"{place}.convs.4.1", aspp, bias=True))
        y = t.layer(torch.cat([*parts, image.expand_as(parts[0])], 1), f"{place}.project", aspp)
        for key, width in zip(("res3", "res2"), narrow, strict=True):
            low = t.layer(maps[key], f"{name}.decoder.{key}.project_conv", width)
            y = torch.cat([grown(y, low.shape[-2:], corners=False), low], 1)
            y = separable(y, f"{name}.decoder.{key}.fuse_conv", channels)
        return y

    semantic = t.conv(
        separable(decoder("sem_seg_head", 8, (6, 4), 10), "sem_seg_head.head", 9),
        "sem_seg_head.predictor",
        19,
        bias=True,
    )
    y = decoder("ins_embed_head", 6, (6, 4), 7)
    center = t.layer(t.layer(y, "ins_embed_head.center_head.0", 7, 3), "ins_embed_head.center_head.1", 5, 3)
    center = t.conv(center, "ins_embed_head.center_predictor", 1, bias=True)
    offset = t.conv(separable(y, "ins_embed_head.offset_head", 5), "ins_embed_head.offset_predictor", 2, bias=True)
    size = x.shape[-2:]
    return (
        grown(semantic, size, corners=False),
        grown(center, size, corners=False),
        4 * grown(offset, size, corners=False),
    )


def author(t, x):
    """ResNet-50 of torchvision at stride 32, three finer maps (segmentation/model of the author's repository)."""

    def separable(x, name, outputs):
        y = t.conv(x, f"{name}.0.0.0", x.shape[1], 5, groups=x.shape[1])
        y = F.relu(t.norm(y, f"{name}.0.0.1"))
        return F.relu(t.norm(t.conv(y, f"{name}.0.1", outputs), f"{name}.0.2"))

    y = F.relu(t.norm(t.conv(x, "backbone.conv1", 16, 7, stride=2), "backbone.bn1"))
    y = F.max_pool2d(y, 3, 2, 1)
    maps = {}
    for stage, count in zip((2, 3, 4, 5), R50["blocks"], strict=True):
        for block in range(count):
            name = f"backbone.layer{stage - 1}.{block}"
            names = [f"{name}.{part}" for part in ("conv1", "conv2", "conv3", "downsample")]
            y = t.bottleneck(y, names, 8 * 2**stage, stride=2 if block == 0 and stage > 2 else 1)
        maps[f"res{stage}"] = y

    def pair(x, name, outputs, kernel=1, **options):
        return F.relu(t.norm(t.conv(x, f"{name}.0", outputs, kernel, **options), f"{name}.1"))

    def decoder(name, aspp, narrow, channels):
        y, place = maps["res5"], f"decoder.{name}_decoder.aspp"
        parts = [pair(y, f"{place}.convs.0", aspp)]
        parts += [pair(y, f"{place}.convs.{n}", aspp, 3, dilation=rate) for n, rate in enumerate((3, 6, 9), 1)]
        image = F.relu(t.conv(y.mean((2, 3), keepdim=True), f"{place}.convs.4.aspp_pooling.1", aspp))
        y = pair(torch.cat([*parts, image.expand_as(parts[0])], 1), f"{place}.project", aspp)
        for number, (key, width) in enumerate(zip(("res4", "res3", "res2"), narrow, strict=True)):
            low = pair(maps[key], f"decoder.{name}_decoder.project.{number}", width)
            y = torch.cat([grown(y, low.shape[-2:], corners=True), low], 1)
            y = separable(y, f"decoder.{name}_decoder.fuse.{number}", channels)
        return y

    def head(y, name, channels, outputs):
        place = f"decoder.{name}"
        return t.conv(separable(y, f"{place}.0", channels), f"{place}.1", outputs, bias=True)

    semantic = head(decoder("semantic", 8, (8, 6, 4), 10), "semantic_head.classifier.semantic", 9, 19)
    y = decoder("instance", 6, (4, 3, 2), 7)
    center, offset = (head(y, f"instance_head.classifier.{kind}", 5, n) for kind, n in (("center", 1), ("offset", 2)))
    size, small = x.shape[-2:], offset.shape[-2:]
    scale = torch.tensor([(size[0] - 1) / (small[0] - 1), (size[1] - 1) / (small[1] - 1)])[:, None, None]
    return tuple(grown(y, size, corners=True) for y in (semantic, center, scale * offset))


def of_detectron2():
    return Theirs(norm_of=lambda name: f"{name}.norm", conv_of=lambda name: name)


def of_author():
    def norm_of(name):
        return f"{name}.1" if name.endswith("downsample") else name.replace("conv", "bn")

    return Theirs(norm_of=norm_of, conv_of=lambda name: f"{name}.0" if name.endswith("downsample") else name)


SOURCES = {
    "detectron2": (of_detectron2, detectron2, R52, DETECTRON2, (64, 96)),
    "author": (of_author, author, R50, AUTHOR, (65, 97)),
}


def build(config, model):
    torch.manual_seed(0)
    return PanopticDeepLab.build(Backbone(label="b", config=config | SIZES), Model(**model), CITYSCAPES)


@pytest.mark.parametrize("source", SOURCES)
def test_a_converted_network_answers_as_its_authors_code(source):
    layers, forward, config, model, size = SOURCES[source]
    theirs, x = layers(), torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(3))
    expected = forward(theirs, x)
    network = build(config, model)
    state = {f"module.{name}" if source == "author" else name: value for name, value in theirs.tensors.items()}
    state["module.backbone.bn1.num_batches_tracked" if source == "author" else "pixel_mean"] = torch.tensor(0)
    network.load_state_dict(converted(state, network, source="x"), strict=False)
    with torch.no_grad():
        found = network.eval().answers(x)
    for ours, other in zip((found.semantic, found.heatmap[:, None], found.offsets), expected, strict=True):
        assert torch.allclose(ours, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def part(config, model):
    from harness.core.config import parse
    from harness.segmenters.base import SegmenterPart

    training = {"iterations": 1, "batch_size": 1, "crop": [64, 64], "short_sides": [64], "learning_rate": 1e-3}
    backbones = {"b": {"label": "b", "config": config | SIZES}}
    table = {"label": "PDL", "adapter": "panoptic_deeplab", "backbones": backbones, "model": model}
    return parse(SegmenterPart, table | {"training": training, "inference": {}}, "part")


def test_a_file_of_detectron2s_model_zoo_becomes_a_folder(tmp_path):
    theirs = of_detectron2()
    detectron2(theirs, torch.randn(1, 3, 64, 96))
    arrays = {name: value.numpy() for name, value in theirs.tensors.items()}
    (tmp_path / "model_final.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "detectron2"}))
    facts = convert(tmp_path / "model_final.pkl", part(R52, DETECTRON2), "b", CITYSCAPES, tmp_path / "out")
    network = checkpoint.load(tmp_path / "out")
    assert facts["parameters"] == sum(p.numel() for p in network.parameters())
    assert np.array_equal(
        network.semantic_head.predict.weight.detach().numpy(), arrays["sem_seg_head.predictor.weight"]
    )


def test_what_does_not_fit_is_named(tmp_path):
    theirs = of_author()
    author(theirs, torch.randn(1, 3, 65, 97))
    missing = {name: v for name, v in theirs.tensors.items() if name != "backbone.layer2.1.conv2.weight"}
    torch.save({"model": missing}, tmp_path / "a.pth")
    with pytest.raises(HarnessError, match=r"stage3\.1\.branch\.1\.conv\.weight: missing"):
        convert(tmp_path / "a.pth", part(R50, AUTHOR), "b", CITYSCAPES, tmp_path / "out")
    torch.save({"model": theirs.tensors | {"backbone.layer9.weight": torch.zeros(1)}}, tmp_path / "a.pth")
    with pytest.raises(HarnessError, match=r"backbone\.layer9\.weight: not expected"):
        convert(tmp_path / "a.pth", part(R50, AUTHOR), "b", CITYSCAPES, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"model": {"w": Evil()}}))
    with pytest.raises(HarnessError, match=r"it asks for builtins\.print"):
        convert(tmp_path / "model.pkl", part(R52, DETECTRON2), "b", CITYSCAPES, tmp_path / "out")
    assert capsys.readouterr().out == ""
