"""Targets, losses and grouping of Panoptic-DeepLab against loops over pixels, and there and back again."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.cityscapes import CITYSCAPES
from harness.data.labels import IGNORE
from harness.data.streets import render
from harness.data.streets.street import Style
from harness.data.tree import Tree
from harness.segmenters.panoptic_deeplab import grouping
from harness.segmenters.panoptic_deeplab.centre_targets import targets
from harness.segmenters.panoptic_deeplab.losses import heatmap_loss, mean_of_nonzero, offset_loss, semantic_loss

ROAD, SKY, PERSON, CAR, TRAILER, LICENCE = 7, 23, 24, 26, 30, 1
THINGS = torch.tensor([label.is_thing for label in CITYSCAPES.evaluated])
INDEX = {label.id: index for index, label in enumerate(CITYSCAPES.evaluated)}


def scene(seed=0, size=(24, 40)):
    """Ids with numbered things, a group, void and an ignored class with numbers."""
    rng = np.random.default_rng(seed)
    ids = np.full(size, ROAD, np.int32)
    ids[:6] = SKY
    for number in range(4):
        y, x = rng.integers(0, size[0] - 4), rng.integers(0, size[1] - 6)
        ids[y : y + rng.integers(2, 9), x : x + rng.integers(2, 9)] = (PERSON, CAR)[number % 2] * 1000 + number
    ids[20:, :5] = PERSON  # a group
    ids[20:, 5:9] = TRAILER * 1000
    ids[20:, 9:12] = LICENCE
    return ids


def naive(ids, *, sigma, small_area, small_weight):
    """The targets pixel by pixel."""
    height, width = ids.shape
    found = {name: np.zeros(ids.shape) for name in ("weights", "heatmap", "heatmap_weights", "offset_weights")}
    classes, offsets = np.full(ids.shape, IGNORE), np.zeros((2, *ids.shape))
    for y in range(height):
        for x in range(width):
            number = ids[y, x]
            label = number // 1000 if number >= 1000 else number
            known, thing = label in INDEX, label in INDEX and CITYSCAPES.evaluated[INDEX[label]].is_thing
            classes[y, x] = INDEX.get(label, IGNORE)
            found["weights"][y, x] = 1
            found["heatmap_weights"][y, x] = known and not (thing and number < 1000)
            if thing and number >= 1000:
                rows, columns = np.nonzero(ids == number)
                centre = round(rows.mean()), round(columns.mean())
                offsets[:, y, x] = centre[0] - y, centre[1] - x
                found["offset_weights"][y, x] = 1
                if len(rows) < small_area:
                    found["weights"][y, x] = small_weight
    for number in np.unique(ids[ids >= 1000]):
        if number // 1000 in INDEX:
            rows, columns = np.nonzero(ids == number)
            cy, cx = round(rows.mean()), round(columns.mean())
            for y in range(height):
                for x in range(width):
                    if max(abs(y - cy), abs(x - cx)) <= int(3 * sigma) + 1:
                        value = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
                        found["heatmap"][y, x] = max(found["heatmap"][y, x], value)
    return found | {"classes": classes, "offsets": offsets}


@pytest.mark.parametrize("seed", range(3))
def test_targets_are_those_of_a_loop_over_pixels(seed):
    options = {"sigma": 2.5, "small_area": 20, "small_weight": 3.0}
    ids = scene(seed)
    found, expected = targets(ids, CITYSCAPES, **options), naive(ids, **options)
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(found, name), value, atol=1e-6, err_msg=name)


def test_a_crop_without_things_teaches_no_offsets():
    found = targets(np.full((8, 8), ROAD, np.int32), CITYSCAPES, sigma=2, small_area=4, small_weight=3)
    assert not found.heatmap.any() and not found.offset_weights.any()
    assert (found.heatmap_weights == 1).all()


def test_the_semantic_loss_is_the_mean_of_the_hardest_weighted_pixels_of_each_image():
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 4, 6)
    classes = torch.randint(0, 5, (2, 4, 6))
    classes[0, :2] = IGNORE
    classes[1] = IGNORE
    classes[1, 0, :2] = 1
    weights = torch.rand(2, 4, 6) + 0.5
    expected = []
    for b in range(2):
        values = []
        for y in range(4):
            for x in range(6):
                c = classes[b, y, x].item()
                chance = 1.0 if c == IGNORE else logits[b, :, y, x].softmax(0)[c].item()
                values.append(-np.log(chance) * weights[b, y, x].item())
        hardest = sorted(values, reverse=True)[: round(0.25 * 24)]
        expected.append(sum(hardest) / sum(value != 0 for value in hardest))
    assert expected[1] == pytest.approx(
        -sum((logits[1, :, 0, x].log_softmax(0)[1] * weights[1, 0, x]).item() for x in range(2)) / 2
    )  # an image with two pixels is the mean of two
    assert semantic_loss(logits, classes, weights, 0.25).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_heatmap_and_offset_losses_are_means_over_pixels_that_count():
    found, heatmap = torch.tensor([[[0.5, 0.0], [1.0, 0.2]]]), torch.tensor([[[0.0, 0.0], [0.0, 0.0]]])
    weights = torch.tensor([[[1.0, 1.0], [0.0, 1.0]]])
    assert heatmap_loss(found, heatmap, weights).item() == pytest.approx((0.25 + 0.04) / 2)
    offsets = torch.tensor([[[[3.0, 1.0]], [[-1.0, 5.0]]]])
    assert offset_loss(offsets, torch.zeros(1, 2, 1, 2), torch.tensor([[[1.0, 0.0]]])).item() == pytest.approx(2)


def test_an_image_without_losses_adds_nothing_but_counts():
    losses = torch.tensor([[2.0, 4.0], [0.0, 0.0]], requires_grad=True)
    assert mean_of_nonzero(losses).item() == 1.5
    mean_of_nonzero(losses).backward()
    assert torch.isfinite(losses.grad).all()


def naive_centres(heatmap, threshold, kernel, top_k):
    reach = kernel // 2
    peaks = []
    for y in range(heatmap.shape[0]):
        for x in range(heatmap.shape[1]):
            window = heatmap[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            if heatmap[y, x] > threshold and heatmap[y, x] >= window.max():
                peaks.append((y, x))
    if len(peaks) > top_k:
        last = sorted((heatmap[p] for p in peaks), reverse=True)[top_k - 1]
        peaks = [p for p in peaks if heatmap[p] > last]
    return [list(p) for p in peaks]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), kernel=st.sampled_from([1, 3, 7]), top_k=st.integers(1, 12))
def test_centres_are_the_peaks_of_a_loop(seed, kernel, top_k):
    heatmap = np.random.default_rng(seed).random((9, 11)).round(1)  # with ties
    found = grouping.centres(torch.from_numpy(heatmap), threshold=0.3, kernel=kernel, top_k=top_k)
    assert found.tolist() == naive_centres(heatmap, 0.3, kernel, top_k)


@pytest.mark.parametrize("seed", range(4))
def test_each_thing_pixel_has_its_nearest_centre_and_an_instance_its_majority_class(seed, monkeypatch):
    monkeypatch.setattr(grouping, "AT_A_TIME", 7)
    torch.manual_seed(seed)
    chances = torch.rand(len(CITYSCAPES.evaluated), 8, 9).mul(4).softmax(0)
    heatmap, offsets = torch.rand(8, 9), 3 * torch.randn(2, 8, 9)
    peaks = torch.tensor([[1, 1], [4, 6], [7, 2]])
    found = grouping.group(chances, heatmap, offsets, peaks, THINGS)
    members = {n: [] for n in range(3)}
    for y in range(8):
        for x in range(9):
            kind = chances[:, y, x].argmax().item()
            if not THINGS[kind]:
                assert found.owner[y, x] == 0
                continue
            place = np.array([y, x]) + offsets[:, y, x].numpy()
            nearest = int(np.argmin(((peaks.numpy() - place) ** 2).sum(1)))
            assert found.owner[y, x] == nearest + 1
            members[nearest].append((y, x, kind))
    for n, pixels in members.items():
        assert found.areas[n] == len(pixels)
        if pixels:
            kinds = np.bincount([kind for *_, kind in pixels], minlength=len(CITYSCAPES.evaluated))
            assert found.classes[n] == kinds.argmax()
            mean = np.mean([chances[kinds.argmax(), y, x].item() for y, x, _ in pixels])
            assert found.scores[n].item() == pytest.approx(mean * heatmap[tuple(peaks[n])].item(), rel=1e-4)


def test_the_panoptic_map_has_instances_and_large_stuff_and_void_elsewhere():
    kinds = torch.tensor([[INDEX[ROAD]] * 4, [INDEX[SKY], INDEX[CAR], INDEX[CAR], INDEX[CAR]]])
    chances = torch.nn.functional.one_hot(kinds, len(CITYSCAPES.evaluated)).permute(2, 0, 1).float()
    peaks = torch.tensor([[1, 1], [0, 0], [1, 3]])
    offsets = torch.zeros(2, 2, 4)
    heatmap = torch.full((2, 4), 0.5)
    grouped = grouping.group(chances, heatmap, offsets, peaks, THINGS)
    panorama, segments = grouping.panoptic(kinds, grouped, CITYSCAPES.evaluated, stuff_area=2)
    assert panorama.tolist() == [[3, 3, 3, 3], [0, 1, 1, 2]]  # the second peak has no pixels, the sky is too small
    assert [(segment.id, segment.label_id) for segment in segments] == [(1, CAR), (2, CAR), (3, ROAD)]
    found = grouping.instances(grouped, CITYSCAPES.evaluated, min_score=0.0)
    assert [(each.label_id, int(each.mask.sum()), each.score) for each in found] == [(CAR, 2, 0.5), (CAR, 1, 0.5)]
    assert grouping.instances(grouped, CITYSCAPES.evaluated, min_score=0.6) == []


def test_things_without_a_centre_are_void():
    kinds = torch.full((3, 3), INDEX[CAR])
    chances = torch.nn.functional.one_hot(kinds, len(CITYSCAPES.evaluated)).permute(2, 0, 1).float()
    grouped = grouping.group(chances, torch.zeros(3, 3), torch.zeros(2, 3, 3), torch.zeros(0, 2).long(), THINGS)
    panorama, segments = grouping.panoptic(kinds, grouped, CITYSCAPES.evaluated, stuff_area=0)
    assert not panorama.any() and segments == ()
    assert grouping.instances(grouped, CITYSCAPES.evaluated, min_score=0) == []


def recovered(ids, *, sigma, kernel, top_k):
    """(numbered things, those found again with an overlap above one half) when all maps are perfect."""
    perfect = targets(ids, CITYSCAPES, sigma=sigma, small_area=0, small_weight=1)
    kinds = torch.from_numpy(np.where(perfect.classes == IGNORE, 0, perfect.classes))
    chances = torch.nn.functional.one_hot(kinds, len(CITYSCAPES.evaluated)).permute(2, 0, 1).float()
    heatmap, offsets = torch.from_numpy(perfect.heatmap), torch.from_numpy(perfect.offsets)
    peaks = grouping.centres(heatmap, threshold=0.1, kernel=kernel, top_k=top_k)
    found = grouping.instances(
        grouping.group(chances, heatmap, offsets, peaks, THINGS), CITYSCAPES.evaluated, min_score=0.0
    )
    truths = [n for n in np.unique(ids[ids >= 1000]) if n // 1000 in INDEX]
    again = 0
    for number in truths:
        mask = ids == number
        overlaps = [
            (mask & each.mask).sum() / (mask | each.mask).sum() for each in found if each.label_id == number // 1000
        ]
        again += max(overlaps, default=0) > 0.5
    return len(truths), again


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    root = tmp_path_factory.mktemp("streets")
    style = Style(zoom=2.1, featured=3, familiar=0.9)
    render(root, seed=0, counts={"train": 1, "val": 12}, size=(128, 256), style=style)
    return [frame.read_ids() for frame in Tree(root).frames("val")]


@pytest.mark.parametrize(("kernel", "top_k"), [(7, 200), (13, 400)])
def test_perfect_maps_give_the_instances_of_streets_back(streets, kernel, top_k):
    counts = np.sum([recovered(ids, sigma=4, kernel=kernel, top_k=top_k) for ids in streets], 0)
    assert counts[0] > 60
    assert counts[1] / counts[0] >= 0.97
