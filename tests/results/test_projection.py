"""What a plan will show: seeds that a stated effect takes, and minutes as the plan counts them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from result_rows import measured, run
from scipy import stats

from harness.planning.plan import Plan, make_plan
from harness.results.baselines import BASELINE_FORMAT, Baseline
from harness.results.gains import MAIN
from harness.results.projection import (
    MOST_SEEDS,
    accepted_spreads,
    as_planned,
    known_spreads,
    minutes,
    needed,
    networks,
    prospect,
)
from harness.results.spread import NetworkSpread

NETWORK = ("oneformer", "ConvNeXt (mini)")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Eight rows of one network with three seeds each."""
    return make_plan("controls", "mini")


def spread(plan: Plan, **change) -> NetworkSpread:
    fields = {
        "segmenter": NETWORK[0],
        "backbone": NETWORK[1],
        "data": plan.dataset.key,
        "metric": MAIN,
        "n_images": 100,
        "images": 4e-6,
        "images_freedom": 90.0,
        "mixed": 1e-6,
        "seeds": 5e-5,
        "seeds_freedom": 16,
    }
    return NetworkSpread(**{**fields, **change})


def test_minutes_at_the_planned_seeds_are_those_of_the_plan(plan):
    total = sum(plan.profile.minutes[step.kind] for step in plan.steps().values())
    assert minutes(plan, seeds=3) == pytest.approx(total)


def test_more_seeds_train_more_and_synthesise_nothing_and_more_images_are_predicted(plan):
    cost, kinds = plan.profile.minutes, [step.kind for step in plan.steps().values()]
    trained, predicted = kinds.count("train") / 3 * cost["train"], kinds.count("predict") / 3 * cost["predict"]
    evaluated = kinds.count("evaluate") / 3 * cost["evaluate"]
    assert minutes(plan, seeds=4) - minutes(plan, seeds=3) == pytest.approx(trained + predicted + evaluated)
    assert minutes(plan, seeds=3, factor=2) - minutes(plan, seeds=3) == pytest.approx(3 * (predicted + evaluated))


def test_a_profile_without_estimates_has_no_minutes(plan):
    assert minutes(replace(plan, profile=plan.profile.model_copy(update={"minutes": {}})), seeds=3) is None


def test_the_fewest_seeds_are_the_first_that_find_the_effect(plan):
    known = spread(plan)
    for found in needed(plan, known, effect=0.01):
        seeds, factor = found.resolution.seeds, found.resolution.images // 100
        assert found.found >= 0.8
        assert prospect(plan, known, effect=0.01, seeds=seeds - 1, factor=factor).found < 0.8
        assert found.resolution.detectable <= 0.01
    assert [found.resolution.images for found in needed(plan, known, effect=0.01)] == [100, 200, 400]


def test_seeds_cannot_make_up_for_images_that_are_too_few(plan):
    """The part that only images make smaller keeps 1 AP out of reach, until there are four times as many."""
    known = spread(plan, images=4e-5, mixed=0.0, seeds=1e-6)
    assert [found.resolution.images for found in needed(plan, known, effect=0.01)] == [400]
    assert prospect(plan, known, effect=0.01, seeds=MOST_SEEDS).found < 0.8


def test_the_power_of_a_plan_is_what_simulated_suites_find(plan):
    """Suites are drawn from a known spread; their intervals leave zero out as often as was said."""
    known = spread(plan, images=0.0, mixed=0.0, seeds=2e-4, seeds_freedom=1)
    (first, *_) = needed(plan, known, effect=0.02, factors=(1,))
    seeds, rows, trials = first.resolution.seeds, len(networks(plan)[NETWORK]), 20_000
    scores = np.random.default_rng(0).normal(0, math.sqrt(2e-4), (trials, rows, seeds))
    pooled = scores.var(axis=2, ddof=1).mean(axis=1)
    measured = 0.02 + scores[:, 1].mean(axis=1) - scores[:, 0].mean(axis=1)
    width = stats.t.isf(0.025, rows * (seeds - 1)) * np.sqrt(2 * pooled / seeds)
    assert np.mean(np.abs(measured) > width) == pytest.approx(first.found, abs=0.01)


def test_a_spread_is_known_where_the_network_and_the_data_are_the_same(plan):
    fits, elsewhere = spread(plan), spread(plan, data="other")
    other, score = spread(plan, backbone="Swin (mini)"), spread(plan, metric="PQ")
    assert known_spreads(plan, [elsewhere, other, score, fits, spread(plan, n_images=7)]) == {NETWORK: fits}
    assert known_spreads(plan, [elsewhere, other, score]) == {}


def test_rows_with_shuffled_labels_are_no_network_to_be_compared():
    shuffled = make_plan("shuffled", "mini")
    assert all(len(rows) == 1 for network, rows in networks(shuffled).items() if network != NETWORK)
    assert all(row.arm.mix.labels == "true" for rows in networks(shuffled).values() for row in rows)


def test_spreads_come_from_accepted_rows_of_the_profile_those_of_the_suite_first(plan, tmp_path, monkeypatch):
    for name in ("results_folder", "shipped_results"):
        monkeypatch.setattr(f"harness.results.baselines.{name}", lambda: tmp_path)
    row = measured(run())
    for name, n_images in (("another-mini", 1), ("controls-mini", 2), ("controls-smoke", 3)):
        suite, profile = name.split("-")
        told = {"suite": suite, "profile": profile, "reason": "r", "spreads": (spread(plan, n_images=n_images),)}
        accepted = Baseline(format=BASELINE_FORMAT, rows=(row,), **told)
        (tmp_path / "baselines").mkdir(exist_ok=True)
        (tmp_path / "baselines" / f"{name}.json").write_text(accepted.model_dump_json(exclude_defaults=True))
    assert [one.n_images for one in accepted_spreads(plan)] == [2, 1]
    (found,) = known_spreads(plan, accepted_spreads(plan)).values()
    assert (as_planned(plan, found).seeds, as_planned(plan, found).images) == (3, 2)
