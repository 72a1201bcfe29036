"""Windows and how their answers become one: against an oracle that knows the truth inside every window."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.cityscapes import CITYSCAPES
from harness.data.prediction import Instance, Prediction, Segment
from harness.inference.sliding import Window, joined, objects, slide, windows

SIZE = (40, 90)
CAR, PERSON, ROAD, SKY = 26, 24, 7, 23
TRUTH = {
    1: (CAR, slice(10, 20), slice(5, 70)),
    2: (CAR, slice(22, 30), slice(30, 52)),
    3: (PERSON, slice(5, 35), slice(72, 78)),
}


def scene():
    """Segment ids: 1 and 2 cars, 3 a person, 8 sky, 9 road; the number of a segment is its colour."""
    ids = np.full(SIZE, 9, np.int32)
    ids[:5] = 8
    for number, (_, rows, columns) in TRUTH.items():
        ids[rows, columns] = number
    return ids


def label(number):
    return TRUTH[number][0] if number in TRUTH else {8: SKY, 9: ROAD}[number]


def oracle(crops, *, votes=True):
    """What a perfect segmenter says of crops, with numbers of its own for the segments."""
    found = []
    for crop in crops:
        ids = crop[..., 0].astype(np.int32)
        present = [int(number) for number in np.unique(ids)][::-1]
        wanted = np.vectorize(label)(ids).astype(np.uint8)
        found.append(
            Prediction(
                instances=[Instance(ids == n, label(n), 0.9 - n / 10) for n in present if n in TRUTH],
                semantic=wanted,
                panoptic=sum((ids == n) * (k + 1) for k, n in enumerate(present)).astype(np.int32),
                segments=tuple(Segment(k + 1, label(n)) for k, n in enumerate(present)),
                votes=np.stack([wanted == one.id for one in CITYSCAPES.evaluated]).astype(np.float32)
                if votes
                else None,
            )
        )
    return found


@given(st.integers(1, 200), st.integers(1, 200), st.integers(32, 90), st.integers(32, 90), st.floats(0, 0.9))
def test_windows_have_one_size_cover_everything_and_overlap_enough(height, width, tall, wide, overlap):
    found = windows((height, width), (tall, wide), overlap)
    seen = np.zeros((height, width), int)
    for place in found:
        assert (place.y1 - place.y0, place.x1 - place.x0) == (min(height, tall), min(width, wide))
        seen[place.inside] += 1
    assert seen.min() >= 1
    starts = sorted({place.x0 for place in found})
    assert all(b - a <= max(1, round(wide * (1 - overlap)) + 1) for a, b in pairwise(starts))


@pytest.mark.parametrize("votes", [True, False])
def test_a_perfect_segmenter_is_perfect_window_by_window(votes):
    ids = scene()
    image = np.repeat(ids[..., None], 3, axis=2).astype(np.uint8)
    found = slide(image, lambda crops: oracle(crops, votes=votes), CITYSCAPES, crop=(32, 40), overlap=0.4)
    assert (found.semantic == np.vectorize(label)(ids)).all()
    by_mask = {i.mask.tobytes(): i for i in found.instances}
    assert len(found.instances) == len(TRUTH)
    for number, (kind, _, _) in TRUTH.items():
        instance = by_mask[(ids == number).tobytes()]
        assert instance.label_id == kind
        assert instance.score == pytest.approx(0.9 - number / 10)
    assert [i.score for i in found.instances] == sorted((i.score for i in found.instances), reverse=True)
    for segment in found.segments:
        (number,) = np.unique(ids[found.panoptic == segment.id])
        assert (ids == number).sum() == (found.panoptic == segment.id).sum()
        assert label(int(number)) == segment.label_id
    assert len(found.segments) == 5


def test_votes_are_averaged_over_the_windows_that_see_a_pixel():
    places = [Window(0, 0, 4, 6), Window(0, 4, 4, 10)]
    road, sky = ([one.id for one in CITYSCAPES.evaluated].index(kind) for kind in (ROAD, SKY))
    votes = [np.zeros((19, 4, 6), np.float32) for _ in places]
    votes[0][road], votes[1][sky], votes[1][road, :, 1] = 0.6, 0.4, 0.7
    answers = [Prediction(semantic=np.zeros((4, 6), np.uint8), votes=vote) for vote in votes]
    assert joined((4, 10), places, answers, CITYSCAPES).semantic[0].tolist() == [ROAD] * 6 + [SKY] * 4
    votes[1][sky] = 0.9
    assert joined((4, 10), places, answers, CITYSCAPES).semantic[0].tolist() == [ROAD] * 4 + [SKY, ROAD] + [SKY] * 4


def piece(window, columns, kind=CAR, score=0.9):
    from harness.inference.sliding import Piece

    mask = np.zeros((4, 6), bool)
    mask[:, columns] = True
    return Piece(window, mask, kind, score)


PLACES = [Window(0, 0, 4, 6), Window(0, 3, 4, 9)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (piece(0, slice(2, 6)), piece(1, slice(0, 5)), True),  # agree on all three shared columns
        (piece(0, slice(2, 6)), piece(1, slice(0, 5), PERSON), False),  # another class
        (piece(0, slice(2, 6)), piece(1, slice(2, 5)), False),  # one of three columns
        (piece(0, slice(0, 3)), piece(1, slice(4, 6)), False),  # neither is in the shared part
        (piece(0, slice(2, 6)), piece(0, slice(2, 6)), False),  # one window says there are two
    ],
)
def test_which_pieces_are_one_object(one, other, same):
    assert sorted(map(sorted, objects(PLACES, [one, other]))) == ([[0, 1]] if same else [[0], [1]])


def test_the_surest_pair_joins_first_and_a_double_stays_alone():
    pieces = [piece(0, slice(3, 6), score=0.9), piece(1, slice(0, 3), score=0.1), piece(1, slice(0, 4), score=0.8)]
    assert sorted(map(sorted, objects(PLACES, pieces))) == [[0, 2], [1]]


def test_the_score_is_the_mean_over_pixels():
    answers = [
        Prediction(instances=[Instance(p.mask, p.label_id, p.score)])
        for p in (piece(0, slice(3, 6), score=0.9), piece(1, slice(0, 6), score=0.6))
    ]
    (found,) = joined((4, 9), PLACES, answers, CITYSCAPES).instances
    assert found.score == pytest.approx(0.7)
    assert found.mask[0].tolist() == [False] * 3 + [True] * 6


def test_a_small_image_is_one_window():
    assert windows((20, 30), (32, 64), 0.5) == [Window(0, 0, 20, 30)]
