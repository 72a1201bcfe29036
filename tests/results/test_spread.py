"""Spreads over seeds and images: learnt from the right rows, and thought through to other numbers of both."""

import numpy as np
import pytest
from result_rows import measured, run

from harness.data.cityscapes import CITYSCAPES
from harness.metrics.frame_statistics import Statistics
from harness.metrics.power import Spread, half_width
from harness.results.gains import decompose
from harness.results.paired import intervals
from harness.results.rows import Row
from harness.results.spread import NetworkSpread, SeedSpreads, learn, pooled

SEEDS, IMAGES, MIXED = 0.03, 0.06, 0.05
"""Standard deviations of the world of `table`: of a run, of a row on an image, and of a run on an image."""


def row(*scores: float, **more) -> Row:
    return measured(*(run(seed, ap=ap) for seed, ap in enumerate(scores)), **more)


def test_the_pooled_variance_is_that_of_numpy_and_counts_runs_once():
    a, b, alone = row(0.1, 0.2, 0.4), row(0.3, 0.35), row(0.9)
    expected = (np.var([0.1, 0.2, 0.4], ddof=1) * 2 + np.var([0.3, 0.35], ddof=1)) / 3
    assert pooled([a, b, alone], "AP") == pytest.approx((expected, 3))
    again = a.model_copy(update={"suite": "other", "name": "elsewhere"})
    assert pooled([a, b, again], "AP") == pooled([a, b], "AP")
    assert pooled([alone], "AP") == (0.0, 0)


def test_the_spread_is_that_of_the_nearest_kind():
    own, network, other = row(0.1, 0.2), row(0.1, 0.3), row(0.1, 0.4, backbone="ConvNeXt (mini)")
    single, shuffled = row(0.2), row(0.0, 0.9).model_copy(update={"labels": "shuffled"})
    assert SeedSpreads([own, shuffled], [network, other]).of(single, "AP") == pooled([own], "AP")
    assert SeedSpreads([single, shuffled], [network, other]).of(single, "AP") == pooled([network], "AP")
    assert SeedSpreads([single, shuffled], [other]).of(single, "AP") == pooled([other], "AP")
    assert not SeedSpreads([single, shuffled]).of(single, "AP").freedom
    assert not SeedSpreads([], [other.model_copy(update={"profile": "paper"})]).of(single, "AP").freedom


def table(folder, rng: np.random.Generator, *, generators: int, seeds: int, images: int):
    """Rows of a made-up network, and where their statistics lie; PQ is the mean over frames of known parts."""
    shared = 0.5 + rng.normal(0, 0.05, images)
    rows, places = [], {}
    for place, name in enumerate(("none", "focus", "gligen", "blended", "recolor")[:generators]):
        ours = shared + rng.normal(0, IMAGES, images)
        runs = []
        for seed in range(seeds):
            frames = ours + rng.normal(0, SEEDS) + rng.normal(0, MIXED, images)
            found = run(seed, ap=0.2 + place / 1000, pq=float(frames.mean()))
            panoptic = np.zeros((images, 19, 4))
            panoptic[:, 0, 0], panoptic[:, 0, 1] = frames, 1
            names = tuple(f"frame{index}" for index in range(images))
            places[found.key] = folder / found.key
            places[found.key].mkdir(parents=True)
            parts = {"panoptic": {"panoptic": panoptic}}
            Statistics(images=names, cities=("a",) * images, labels=CITYSCAPES, parts=parts).save(places[found.key])
            runs.append(found)
        rows.append(measured(*runs, generator=name))
    return rows, lambda found: places[found.key]


def test_the_parts_of_a_known_world_are_learnt(tmp_path):
    rows, where = table(tmp_path, np.random.default_rng(0), generators=3, seeds=6, images=400)
    (found,) = learn(decompose(rows, intervals(where, rows), metric="PQ"))
    assert (found.n_images, found.seeds_freedom) == (400, 15)
    # A difference of two rows has the images of both.
    assert found.images == pytest.approx(2 * IMAGES**2 / 400, rel=0.15)
    assert found.mixed == pytest.approx(MIXED**2 / 400, rel=0.15)
    assert found.seeds == pytest.approx(pooled(rows, "PQ").variance - found.mixed)
    assert found.seeds == pytest.approx(SEEDS**2, rel=0.75)


def test_at_its_own_numbers_the_spread_gives_the_intervals_of_the_table(tmp_path):
    rows, where = table(tmp_path, np.random.default_rng(7), generators=3, seeds=3, images=60)
    gains = decompose(rows, intervals(where, rows), metric="PQ")
    (spread,) = learn(gains)
    widths = [(gain.difference.high - gain.difference.low) / 2 for gain in gains]
    assert half_width(spread.of_difference(seeds=3, images=60)) == pytest.approx(np.mean(widths), rel=0.03)


def test_what_more_seeds_and_more_images_would_make_smaller():
    spread = NetworkSpread(
        segmenter="s",
        backbone="b",
        data="d",
        metric="AP",
        n_images=100,
        images=1.0,
        images_freedom=80.0,
        mixed=3.0,
        seeds=2.0,
        seeds_freedom=4,
    )
    assert spread.of_difference(seeds=3, images=100) == (Spread(3.0, 80.0), Spread(4 / 3, 4))
    assert spread.of_difference(seeds=6, images=400) == (Spread(0.5, 320.0), Spread(2 / 3, 4))
    assert spread.of_difference(seeds=6, images=100, freedom=20)[1].freedom == 20
    assert spread.of_difference(seeds=6, images=100, freedom=2)[1].freedom == 4


def test_nothing_is_learnt_from_shuffled_labels_or_without_intervals(tmp_path):
    rows, where = table(tmp_path, np.random.default_rng(3), generators=2, seeds=2, images=20)
    shuffled = [one.model_copy(update={"labels": "shuffled"}) for one in rows]
    assert learn(decompose(shuffled, intervals(where, shuffled), metric="PQ")) == ()
    assert learn(decompose(rows, lambda *_: None, metric="PQ")) == ()
