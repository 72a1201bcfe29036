"""Panoptic-DeepLab as a whole: published sizes, batches, answers, weights to start from."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import toy
from safetensors.torch import save_file

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.data.labels import IGNORE
from harness.segmenters.deeplab_backbones.layers import norm_layer
from harness.segmenters.network import Sample
from harness.segmenters.options import Backbone
from harness.segmenters.panoptic_deeplab.adapter import PanopticDeepLab
from harness.segmenters.panoptic_deeplab.decoder import AtrousPyramid, Pyramid
from harness.segmenters.panoptic_deeplab.options import Inference, Model

WIDE = {"kind": "wide_resnet", "blocks": [3, 6, 3, 3]}
SAC = WIDE | {"layers": 4.5, "sac_from": 32}
AXIAL = {"kind": "resnet_beta", "axial_from": 2, "span": 65, "pool": True}
AXIAL_MODEL = {"aspp": "projection", "instance_aspp_channels": 128}
# name: config, model, parameters here, millions as published
PUBLISHED = {
    "SWideRNet-SAC-(1,1,4.5)": (SAC, {}, 535_985_427, 536),
    "Axial-DeepLab-L": (AXIAL, AXIAL_MODEL, 45_004_742, 44.9),
    "Axial-DeepLab-XL": (AXIAL | {"width": 2.0, "stem_width": 2.0}, AXIAL_MODEL, 173_177_670, 173.0),
}


def build(*, config=None, **model):
    torch.manual_seed(0)
    backbone = Backbone(label="toy", config=toy.BACKBONES["deeplab"]["config"] | (config or {}))
    return PanopticDeepLab.build(backbone, Model(**toy.PANOPTIC_DEEPLAB | model), CITYSCAPES)


def sample(number=0, size=(64, 128)):
    image, ids = toy.scene(number, size=size)
    return Sample(name=f"toy_{number:06d}_000019", image=image, ids=ids, seed=number)


def test_importing_the_adapter_imports_no_torch():
    code = "import sys, harness.segmenters.panoptic_deeplab.adapter; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_system_has_its_parameters(name):
    config, model, expected, millions = PUBLISHED[name]
    with torch.device("meta"):
        network = PanopticDeepLab.build(Backbone(label=name, config=config), Model(**model), CITYSCAPES)
    found = sum(p.numel() for p in network.parameters())
    assert found == expected
    assert found / 1e6 == pytest.approx(millions, rel=0.003)


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"aspp": "atrous"},
        {"aspp": "separable", "convolution": "separable", "normalisation": "imagenet"},
        {"align_corners": False, "center_convolution": "separable"},
        {"low_level": [8, 8, 4], "instance_low_level": [8, 4, 4]},
    ],
)
def test_losses_are_finite_and_reach_every_weight(model):
    network = build(**model).train()
    losses = network(network.collate([sample(0), sample(1)]))
    assert set(losses) == {"semantic", "center", "offset"}
    sum(losses.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_a_batch_is_padded_to_one_pixel_more_than_a_multiple_of_the_stride_and_padding_teaches_nothing():
    network = build()
    batch = network.collate([sample(0, size=(60, 120))])
    assert batch["pixels"].shape == (1, 3, 65, 129)
    assert (batch["classes"][:, 60:] == IGNORE).all() and (batch["classes"][:, :, 120:] == IGNORE).all()
    for name in ("weights", "heatmap_weights", "offset_weights"):
        assert not batch[name][:, 60:].any() and not batch[name][:, :, 120:].any()
    assert batch["pixels"][..., :60, :120].abs().max() <= 1
    assert not batch["pixels"][..., 60:, :].any()


def test_offsets_are_in_pixels_of_the_input():
    """A head that predicts one cell down and two to the right: four and eight pixels at stride 4."""
    network = build().eval()
    torch.nn.init.zeros_(network.offset_head.predict.weight)
    network.offset_head.predict.bias.data = torch.tensor([1.0, 2.0])
    found = network.answers(torch.zeros(1, 3, 65, 129)).offsets
    assert torch.allclose(found[0, :, 30, 60], torch.tensor([4.0, 8.0]))


@pytest.mark.parametrize("size", [(64, 128), (50, 70)])
def test_answers_hold_together(size):
    network = build().eval()
    network.keep_votes = True
    torch.nn.init.constant_(network.center_head.predict.bias, 0.5)  # a new network has no centres
    images = [toy.scene(n, size=size)[0] for n in range(2)]
    for found in network.predict(images, Inference(stuff_area=1, nms_kernel=7)):
        assert found.semantic.shape == found.panoptic.shape == size
        assert found.votes.shape == (len(CITYSCAPES.evaluated), *size)
        ids = np.array([label.id for label in CITYSCAPES.evaluated])
        assert np.array_equal(found.semantic, ids[found.votes.argmax(0)])
        assert [s.id for s in found.segments] == list(range(1, len(found.segments) + 1))
        assert set(np.unique(found.panoptic)) - {0} == {s.id for s in found.segments}
        things = [s for s in found.segments if CITYSCAPES.by_id[s.label_id].is_thing]
        assert len(things) == len(found.instances)
        assert sum(each.mask.sum() for each in found.instances) == np.isin(found.panoptic, [s.id for s in things]).sum()
        scores = [each.score for each in found.instances]
        assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
        for segment in found.segments:
            if not CITYSCAPES.by_id[segment.label_id].is_thing:
                assert (found.semantic[found.panoptic == segment.id] == segment.label_id).all()


def test_image_pooling_keeps_the_window_of_the_training_crop():
    norm = norm_layer(eps=1e-3, momentum=0.1)
    whole, windowed = (
        AtrousPyramid(4, Pyramid("atrous", 4, (1, 2, 3), window, 0.0), norm=norm, align_corners=True).eval()
        for window in (None, (3, 5))
    )
    windowed.load_state_dict(whole.state_dict())
    x = torch.randn(1, 4, 3, 5)
    assert torch.allclose(whole(x), windowed(x), atol=1e-6)
    larger = torch.randn(1, 4, 6, 10)
    assert not torch.allclose(whole(larger), windowed(larger), atol=1e-3)
    assert windowed._means(larger).shape == (1, 4, 4, 6)


def test_a_network_starts_from_a_whole_model_with_other_classes_anew(tmp_path):
    source = build()
    state = {name: value + 1 if value.is_floating_point() else value for name, value in source.state_dict().items()}
    state["semantic_head.predict.weight"] = torch.zeros(7, *state["semantic_head.predict.weight"].shape[1:])
    state["semantic_head.predict.bias"] = torch.zeros(7)
    save_file(state, tmp_path / "model.safetensors")
    backbone = Backbone(label="toy", config=toy.BACKBONES["deeplab"]["config"], checkpoint=str(tmp_path))
    torch.manual_seed(0)
    found = PanopticDeepLab.build(backbone, Model(**toy.PANOPTIC_DEEPLAB), CITYSCAPES).state_dict()
    for name, value in found.items():
        anew = name.startswith("semantic_head.predict")
        assert torch.equal(value, source.state_dict()[name] if anew else state[name]), name
    del state["backbone.stem.0.conv.weight"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(HarnessError, match=r"backbone\.stem\.0\.conv\.weight: missing"):
        PanopticDeepLab.build(backbone, Model(**toy.PANOPTIC_DEEPLAB), CITYSCAPES)


def test_a_network_starts_from_a_backbone(tmp_path):
    source = build()
    with torch.no_grad():
        source.backbone.stem[0].conv.weight += 1
    save_file(source.backbone.state_dict(), tmp_path / "model.safetensors")
    backbone = Backbone(label="toy", config=toy.BACKBONES["deeplab"]["config"], weights=str(tmp_path))
    found = PanopticDeepLab.build(backbone, Model(**toy.PANOPTIC_DEEPLAB), CITYSCAPES)
    assert torch.equal(found.backbone.stem[0].conv.weight, source.backbone.stem[0].conv.weight)
    with pytest.raises(HarnessError, match="harness convert deeplab2"):
        PanopticDeepLab.build(backbone.model_copy(update={"weights": str(tmp_path / "none")}), Model(), CITYSCAPES)


def test_a_trained_network_is_built_again_from_its_shape():
    network = build(config={"span": 9, "axial_from": 8})
    again = PanopticDeepLab.build(Backbone(label="gone"), network.options, CITYSCAPES, shape=network.shape)
    again.load_state_dict(network.state_dict())
    x = torch.randn(1, 3, 33, 65)
    assert torch.equal(network.eval().answers(x).semantic, again.eval().answers(x).semantic)


def test_options_that_contradict_are_refused():
    with pytest.raises(ValueError, match="as many maps"):
        Model(low_level=[8, 8, 8])
    with pytest.raises(ValueError, match="odd"):
        Inference(nms_kernel=4)


def test_image_pooling_cannot_learn_from_one_image():
    network = build(aspp="atrous").train()
    with pytest.raises(HarnessError, match="one image at a time"):
        network(network.collate([sample(0)]))
    assert all(torch.isfinite(loss) for loss in network(network.collate([sample(0), sample(1)])).values())
