"""kMaX-DeepLab: its size, its losses against loops, what a layer does, and how slots become answers."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toy

from harness.data.cityscapes import CITYSCAPES
from harness.segmenters.kmax import answers, kmax_loss
from harness.segmenters.kmax.adapter import KMaX
from harness.segmenters.kmax.options import Inference, Model
from harness.segmenters.network import Sample
from harness.segmenters.options import Backbone

MAX_S = {"kind": "resnet_beta", "axial_from": 16, "activation": "gelu", "drop_path": 0.2}
INDEX = {label.id: index for index, label in enumerate(CITYSCAPES.evaluated)}
ROAD, SKY, PERSON, CAR = 7, 23, 24, 26


def build(*, config=None, **model):
    torch.manual_seed(0)
    backbone = Backbone(label="toy", config=toy.BACKBONES["deeplab"]["config"] | (config or {}))
    options = toy.KMAX | model
    return KMaX.build(backbone, Model(**options | {"layers": tuple(options["layers"])}), CITYSCAPES)


def sample(number=0, size=(64, 128)):
    image, ids = toy.scene(number, size=size)
    return Sample(name=f"toy_{number:06d}_000019", image=image, ids=ids, seed=number)


def test_importing_the_adapter_imports_no_torch():
    code = "import sys, harness.segmenters.kmax.adapter; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_with_max_s_it_has_its_74_8_million_parameters():
    with torch.device("meta"):
        network = KMaX.build(Backbone(label="MaX-S", config=MAX_S), Model(), CITYSCAPES)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert count["backbone"] == 41_343_424
    assert count["pixel_decoder"] == 21_182_784
    assert sum(count.values()) == 74_823_693


@pytest.mark.parametrize("model", [{}, {"decoder_channels": [16, 16, 8, 8, 4], "decoder_blocks": [1] * 5}])
def test_losses_are_finite_and_reach_every_weight(model):
    network = build(config={"axial_from": 16}, **model).train()
    for parameter in network.parameters():  # branches that start at zero hide what lies behind them
        if parameter.abs().max() == 0:
            torch.nn.init.normal_(parameter, std=0.1)
    losses = network(network.collate([sample(0), sample(1)]))
    assert set(losses) == {"class", "dice", "mask", "contrast", "semantic"}
    sum(losses.values()).backward()
    for name, parameter in network.named_parameters():
        if name.endswith(("similarity_norm.bias",)):  # no effect under a softmax
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_a_batch_names_the_mask_of_every_pixel():
    network = build()
    batch = network.collate([sample(0, size=(60, 120))])
    assert batch["pixels"].shape == (1, 3, 65, 129)
    owner, kinds = batch["owners"][0], batch["kinds"][0]
    assert (owner[60:] == kmax_loss.NOBODY).all() and (owner[:, 120:] == kmax_loss.NOBODY).all()
    ids = sample(0, size=(60, 120)).ids
    for number in np.unique(ids):
        found = owner[:60, :120][torch.from_numpy(ids == number)].unique()
        assert len(found) == 1
        assert CITYSCAPES.evaluated[kinds[found[0]]].id == (number if number < 1000 else number // 1000)


def random_case(seed, *, slots=6, masks=4, pixels=40):
    """A truth and a prediction for it: one mask without pixels, some pixels void, some of a group."""
    torch.manual_seed(seed)
    owner = torch.randint(-1, masks, (1, pixels))
    owner[owner == 2] = 3
    known = (owner >= 0) | (torch.rand(1, pixels) < 0.5)
    truth = kmax_loss.truth(owner, known, torch.randint(0, len(CITYSCAPES.evaluated), (masks,)))
    clusters = torch.randn(slots, len(CITYSCAPES.evaluated) + 1), 2 * torch.randn(slots, pixels)
    return truth, clusters, owner[0]


def test_masks_without_a_pixel_are_left_out():
    truth, _, owner = random_case(0)
    assert len(truth.classes) == 3
    assert torch.equal(truth.owner, torch.where(owner == 3, 2, owner))
    assert truth.areas.tolist() == [(owner == n).sum().item() for n in (0, 1, 3)]


@pytest.mark.parametrize("seed", range(4))
def test_masks_are_matched_for_the_largest_sum_of_dice_times_class(seed):
    truth, (classes, masks), _ = random_case(seed)
    chances = masks.softmax(0)
    found = kmax_loss.match(classes, chances, truth)

    def value(mask, slot):
        inside = chances[slot, truth.owner == mask].sum()
        dice = inside / ((chances[slot, truth.known].sum() + (truth.owner == mask).sum()) / 2 + 1e-5)
        return dice.item(), classes[slot].softmax(0)[truth.classes[mask]].item()

    best = max(
        itertools.permutations(range(len(masks)), len(truth.classes)),
        key=lambda slots: sum(np.prod(value(mask, slot)) for mask, slot in enumerate(slots)),
    )
    assert found.slots[found.masks.argsort()].tolist() == list(best)
    for mask, slot, dice, chance in zip(*found, strict=True):
        assert (dice.item(), chance.item()) == pytest.approx(value(mask, slot), rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_those_of_loops(seed):
    truth, (classes, masks), _ = random_case(seed)
    chances = masks.softmax(0)
    matched = kmax_loss.match(classes, chances, truth)
    slot_of = {m.item(): s.item() for m, s in zip(matched.masks, matched.slots, strict=True)}
    owned = truth.owner >= 0
    mask_terms = [-masks[:, p].log_softmax(0)[slot_of[truth.owner[p].item()]].item() for p in owned.nonzero()[:, 0]]
    assert kmax_loss.mask_loss(masks, truth, matched).item() == pytest.approx(np.mean(mask_terms), rel=1e-5)
    dice = 0.0
    for n, (mask, slot) in enumerate(zip(matched.masks, matched.slots, strict=True)):
        inside, area = chances[slot, truth.owner == mask].sum(), (truth.owner == mask).sum()
        dice += (1 - (2 * inside + 1) / (chances[slot, owned].sum() + area + 1)) * max(matched.chance[n], 1e-5)
    assert kmax_loss.dice_loss(masks, truth, matched).item() == pytest.approx(
        (dice * 0.75 / len(masks)).item(), rel=1e-5
    )
    weights, terms = kmax_loss._class_weights(chances, truth, matched), []
    for slot in range(len(masks)):
        mask = next((m for m, s in slot_of.items() if s == slot), None)
        wanted = len(CITYSCAPES.evaluated) if mask is None else truth.classes[mask]
        void = (chances[slot, ~truth.known].sum() / (chances[slot].sum() + 1e-5)).item()
        place = None if mask is None else matched.slots.tolist().index(slot)
        weight = 0.25 * max(void, 1e-5) if mask is None else 0.75 * max(matched.dice[place].item(), 1e-5)
        assert weights[slot].item() == pytest.approx(weight, rel=1e-4)
        terms.append(-classes[slot].log_softmax(0)[wanted].item() * weight)
    assert kmax_loss.class_loss(classes, truth, matched, weights).item() == pytest.approx(np.mean(terms), rel=1e-4)


def test_contrast_is_that_of_a_loop_when_every_pixel_is_drawn():
    truth, _, _ = random_case(1)
    owned = (truth.owner >= 0).nonzero()[:, 0]
    embedding = F.normalize(torch.randn(5, 40), dim=0)
    terms = []
    for p in owned:
        logits = torch.stack([embedding[:, p] @ embedding[:, q] / 0.3 for q in owned])
        alike = torch.stack([truth.owner[p] == truth.owner[q] for q in owned]).float()
        terms.append(-(alike / alike.sum() * logits.log_softmax(0)).sum().item())
    found = kmax_loss.contrast_loss(embedding, truth, Model(samples=1000))
    assert found.item() == pytest.approx(np.mean(terms), rel=1e-4)


def test_pixels_are_drawn_once_and_those_of_small_masks_more_often():
    owner = torch.zeros(1, 1000, dtype=torch.int64)
    owner[0, :50], owner[0, 50:100] = 1, kmax_loss.NOBODY
    truth = kmax_loss.truth(owner, owner >= 0, torch.tensor([0, 1]))
    torch.manual_seed(0)
    small = {}
    for temperature in (0.0, 1.0):
        found = kmax_loss.sampled(truth, Model(samples=100, sample_temperature=temperature))
        assert len(found.unique()) == 100 and (truth.owner[found] >= 0).all()
        small[temperature] = (truth.owner[found] == 1).sum().item()
    assert small[0.0] < 15 and small[1.0] > 25  # 50 of 950 pixels have the small mask
    assert len(kmax_loss.sampled(truth, Model(samples=5000))) == 950


def test_a_crop_without_masks_teaches_only_that_there_are_none():
    owner = torch.full((1, 30), kmax_loss.NOBODY)
    truth = kmax_loss.truth(owner, torch.zeros(1, 30, dtype=torch.bool), torch.zeros(0, dtype=torch.int64))
    classes, masks = torch.randn(6, 20, requires_grad=True), torch.randn(6, 30, requires_grad=True)
    matched = kmax_loss.match(classes.detach(), masks.detach().softmax(0), truth)
    weights = kmax_loss._class_weights(masks.detach().softmax(0), truth, matched)
    embedding = torch.randn(4, 30, requires_grad=True)
    total = (
        kmax_loss.class_loss(classes, truth, matched, weights)
        + kmax_loss.dice_loss(masks, truth, matched)
        + kmax_loss.mask_loss(masks, truth, matched)
        + kmax_loss.contrast_loss(embedding, truth, Model())
    )
    total.backward()
    assert torch.isfinite(total) and classes.grad[:, -1].abs().sum() > 0
    assert not masks.grad.any() and not embedding.grad.any()


def test_a_centre_gathers_the_pixels_that_it_wins():
    network = build().eval()
    layer = network.transformer.layers[0]
    values, masks = torch.randn(1, 32, 2, 3), torch.randn(1, 16, 2, 3)
    found = layer._gather(values, masks)[0, :, :, 0]
    winner = masks[0].argmax(0)
    for slot in range(16):
        assert torch.allclose(found[:, slot], values[0][:, winner == slot].sum(1), atol=1e-6)


def test_the_panoptic_map_takes_masks_by_class_probability():
    inference = Inference(thing_area=2, stuff_area=1)
    classes = torch.full((5, len(CITYSCAPES.evaluated)), 0.001)
    classes[0, INDEX[CAR]] = 0.9
    classes[1, INDEX[PERSON]] = 0.8  # half of it is under the car
    classes[2, INDEX[ROAD]] = 0.35
    classes[3, INDEX[ROAD]] = 0.4
    classes[4, INDEX[CAR]] = 0.45  # not sure enough for a thing
    chances = torch.zeros(5, 2, 4)
    chances[0, 0, :2] = 0.5
    chances[1, 0, 1:3] = 0.45
    chances[2, 1, :2] = 0.9
    chances[3, 1, 2:] = 0.9
    chances[4, 0, 3] = 0.9
    panorama, segments = answers.panoptic(classes, chances, CITYSCAPES.evaluated, inference)
    assert [(s.id, s.label_id) for s in segments] == [(1, CAR), (2, ROAD)]
    assert panorama.tolist() == [[1, 1, 0, 0], [2, 2, 2, 2]]
    small = answers.panoptic(classes, chances, CITYSCAPES.evaluated, inference.model_copy(update={"thing_area": 3}))
    assert [s.label_id for s in small[1]] == [ROAD]
    found = answers.instances(classes, chances, CITYSCAPES.evaluated, Inference(topk=4, min_score=0.1))
    assert [(each.label_id, round(each.score, 3)) for each in found] == [(CAR, 0.45), (CAR, 0.405), (PERSON, 0.36)]


@pytest.mark.parametrize("size", [(64, 128), (50, 70)])
def test_answers_hold_together(size):
    network = build().eval()
    network.keep_votes = True
    images = [toy.scene(n, size=size)[0] for n in range(2)]
    loose = Inference(pixel_threshold=0.01, thing_threshold=0, stuff_threshold=0, thing_area=1, stuff_area=1)
    for found in network.predict(images, loose):
        assert found.semantic.shape == found.panoptic.shape == size
        assert np.array_equal(found.semantic, CITYSCAPES.evaluated_ids[found.votes.argmax(0)])
        assert set(np.unique(found.panoptic)) - {0} == {s.id for s in found.segments}
        stuff = [s.label_id for s in found.segments if not CITYSCAPES.by_id[s.label_id].is_thing]
        assert len(stuff) == len(set(stuff))
        scores = [each.score for each in found.instances]
        assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)


def test_a_trained_network_is_built_again_from_its_shape():
    network = build(config={"axial_from": 16}).eval()
    again = KMaX.build(Backbone(label="gone"), network.options, CITYSCAPES, shape=network.shape).eval()
    again.load_state_dict(network.state_dict())
    x = torch.randn(1, 3, 33, 65)
    assert torch.equal(network.answers(x)[0][-1].masks, again.answers(x)[0][-1].masks)
