"""Backbones of the DeepLab line: published parameter counts, strides, dilations, and what each part adds."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.core.errors import HarnessError
from harness.segmenters.deeplab_backbones.axial_resnet import AxialResNet, plans
from harness.segmenters.deeplab_backbones.layers import DropPath, SqueezeExcite, SwitchableConv
from harness.segmenters.deeplab_backbones.options import AxialResNetOptions, backbone_options

WIDE = {"kind": "wide_resnet", "blocks": [3, 6, 3, 3]}
AXIAL_WIDE = WIDE | {"axial_from": 16, "expansion": 4, "key_expansion": 2, "value_expansion": 4}
BETA = {"kind": "resnet_beta"}
# The counts that the unit tests of DeepLab2 assert (trainable, without a classifier).
PUBLISHED = {
    "resnet50": ({}, 23_508_032),
    "resnet50_beta": (BETA, 23_631_808),
    "max_deeplab_s_backbone": (BETA | {"axial_from": 16}, 41_343_424),
    "axial_resnet_s": ({"width": 0.5, "axial_from": 2}, 11_466_912),
    "axial_resnet_l": ({"axial_from": 2}, 43_714_048),
    "axial_deeplab_s": (BETA | {"width": 0.5, "axial_from": 2}, 11_565_856),
    "axial_deeplab_l": (BETA | {"axial_from": 2}, 43_841_920),
    "swidernet_1": (WIDE, 109_014_080),
    "swidernet_3": (WIDE | {"layers": 3.0}, 333_245_504),
    "swidernet_4.5": (WIDE | {"layers": 4.5}, 487_453_760),
    "axial_swidernet_1": (AXIAL_WIDE, 136_399_392),
    "axial_swidernet_3": (AXIAL_WIDE | {"layers": 3.0}, 393_935_520),
    "axial_swidernet_4.5": (AXIAL_WIDE | {"layers": 4.5}, 570_346_912),
}
SMALL = {"blocks": [1, 2, 2, 2], "width": 0.125, "stem_width": 0.125, "distances": 9}


def build(**config):
    torch.manual_seed(0)
    return AxialResNet(backbone_options(config, "test"))


def awake(network):
    """`network` with every norm drawn, so that no branch is silent."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
    return network.eval()


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_parameters_are_as_many_as_published(name):
    config, expected = PUBLISHED[name]
    with torch.device("meta"):
        network = AxialResNet(backbone_options(config, name))
    assert sum(p.numel() for p in network.parameters()) == expected


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("stride", [16, 32])
@pytest.mark.parametrize("axial_from", [0, 2, 16])
def test_maps_have_the_strides_that_they_say(axial_from, stride, pool):
    network = build(**SMALL, axial_from=axial_from, output_stride=stride, pool=pool).eval()
    maps = network(torch.randn(1, 3, 65, 129))
    found = [tuple(x.shape[2:]) for x in maps]
    expected = [(64 // s + 1, 128 // s + 1) for s in (4 if pool else 2, 4, 8, 16, stride)]
    assert found == expected
    assert [x.shape[1] for x in maps] == network.channels


def test_axial_blocks_begin_where_the_input_has_the_stride():
    options = AxialResNetOptions(axial_from=16)
    axial = {stage: [plan.axial for plan in plans(options, stage)] for stage in (2, 3, 4, 5)}
    assert axial == {2: [False] * 3, 3: [False] * 4, 4: [False] + [True] * 5, 5: [True] * 3}


@pytest.mark.parametrize("config", [SMALL, SMALL | WIDE])
def test_dilation_keeps_what_striding_would_give(config):
    """The dense map at stride 16 holds the map at stride 32: convolutions see the same pixels."""
    dense, sparse = (awake(build(**config, output_stride=stride)) for stride in (16, 32))
    sparse.load_state_dict(dense.state_dict())
    x = torch.randn(1, 3, 65, 97)
    assert torch.allclose(dense(x).res5[:, :, ::2, ::2], sparse(x).res5, atol=1e-4)


def test_a_multi_grid_dilates_each_block_of_the_last_stage():
    options = AxialResNetOptions(kind="resnet_beta", multi_grid=(1, 2, 4))
    assert [plan.dilations for plan in plans(options, 5)] == [(2,), (4,), (8,)]
    with pytest.raises(HarnessError, match=r"backbone R-52, config.*multi_grid"):
        backbone_options({"multi_grid": [1, 2]}, "R-52")


def test_branches_are_dropped_more_often_the_deeper_they_are():
    wide = AxialResNetOptions(kind="wide_resnet", blocks=(3, 6, 3, 3), drop_path=0.2, drop_path_from=4)
    rates = {stage: [round(plan.drop_path, 3) for plan in plans(wide, stage)] for stage in range(1, 6)}
    assert rates[1] == [0, 0, 0]
    assert rates[2] == [0, 0.05, 0.05]
    assert rates[5] == [0.15, 0.2, 0.2]
    late = AxialResNetOptions(drop_path=0.2, drop_path_from=16)
    assert [plan.drop_path for plan in plans(late, 3)] == [0] * 4
    assert [round(plan.drop_path, 3) for plan in plans(late, 4)] == [0] + [0.15] * 5


def test_dropped_branches_leave_the_mean_as_it_is():
    torch.manual_seed(0)
    layer = DropPath(0.25).train()
    kept = layer(torch.ones(4000, 1, 1, 1)).flatten()
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert kept.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(layer.eval()(torch.ones(5, 1, 1, 1)), torch.ones(5, 1, 1, 1))


def test_a_new_network_is_its_shortcuts():
    """The last norm of each branch starts at zero, so a block without change of shape passes its activation on."""
    network = build(**SMALL, axial_from=16).eval()
    blocks = list(network.stages["stage4"].children())
    x = torch.randn(1, network.channels[3], 5, 5)
    assert torch.equal(blocks[1](x), F.relu(x))


def test_the_switch_mixes_two_dilations_of_one_kernel():
    torch.manual_seed(0)
    layer = SwitchableConv(3, 4, 3, dilation=2)
    x = torch.randn(2, 3, 9, 9)
    near = F.conv2d(x, layer.conv.weight, padding=2, dilation=2)
    assert torch.allclose(layer(x), near, atol=1e-6)  # the switch starts at zero
    far = F.conv2d(x, layer.conv.weight, padding=6, dilation=6)
    nn.init.ones_(layer.switch.bias)
    assert torch.allclose(layer(x), far, atol=1e-5)
    nn.init.normal_(layer.switch.weight)
    nn.init.normal_(layer.before.conv.weight)
    nn.init.normal_(layer.after.conv.weight)
    seen = x + F.conv2d(x.mean((2, 3), keepdim=True), layer.before.conv.weight)
    # The mean of the pixels that are there, in a window of five.
    around = F.avg_pool2d(F.pad(seen, (2, 2, 2, 2)), 5, 1) * 25
    around = around / (F.avg_pool2d(F.pad(torch.ones_like(seen), (2, 2, 2, 2)), 5, 1) * 25)
    switch = F.conv2d(around, layer.switch.weight) + 1
    near, far = (F.conv2d(seen, layer.conv.weight, padding=d, dilation=d) for d in (2, 6))
    mixed = switch * far + (1 - switch) * near
    expected = mixed + F.conv2d(mixed.mean((2, 3), keepdim=True), layer.after.conv.weight)
    assert torch.allclose(layer(x), expected, atol=1e-4)


def test_a_strided_switchable_convolution_has_no_switch():
    layer = SwitchableConv(3, 4, 3, stride=2)
    assert layer.switch is None
    assert layer(torch.randn(1, 3, 9, 9)).shape == (1, 4, 5, 5)


def test_squeeze_and_excite_scales_channels():
    layer = SqueezeExcite(2)
    nn.init.zeros_(layer.conv.weight)
    layer.conv.bias.data = torch.tensor([3.0, -3.0])
    x = torch.randn(1, 2, 4, 4)
    assert torch.allclose(layer(x), x * torch.tensor([1.0, 0.0])[:, None, None])
    assert build(**SMALL, squeeze_excite=True)(torch.randn(2, 3, 33, 33)).res5.shape == (2, 256, 3, 3)


@pytest.mark.parametrize("config", [SMALL | {"axial_from": 4}, SMALL | WIDE | {"sac_from": 32}])
def test_blocks_that_are_computed_again_change_nothing(config):
    x = torch.randn(2, 3, 33, 65)
    found = []
    for again in (False, True):
        network = build(**config).train()
        network.recompute = again
        sum(y.square().mean() for y in network(x)).backward()
        gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
        statistics = {n: b for n, b in network.named_buffers() if b.is_floating_point()}
        found.append(gradients | statistics)
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], rtol=1e-4, atol=1e-6), name


def test_an_unknown_key_names_the_backbone():
    with pytest.raises(HarnessError, match=r"backbone SWideRNet, config: unknown key 'layer'"):
        backbone_options({"layer": 2.0}, "SWideRNet")
