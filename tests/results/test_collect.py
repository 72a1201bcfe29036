"""Rows from the store: what a row cost, and whose data its table is about."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.store import Store
from harness.planning.plan import Plan, chain, make_plan
from harness.results.collect import SCORES, check_published, rows

SUITE = 'title = "Table"\nquestion = "q"\nkind = "image_quality"\n[[rows]]\nmethod = "m"\ngenerator = "focus"\n'


@pytest.fixture
def plan(tmp_path) -> Plan:
    (tmp_path / "s.toml").write_text(SUITE)
    return make_plan(str(tmp_path / "s.toml"), "smoke")


def made(plan: Plan, root: Path, **facts: dict) -> Store:
    """A store with the plan's steps of the kinds in `facts`."""
    store = Store(root)
    store.open()
    for step in chain(next(iter(plan.rows[0].finals.values()))):
        if step.kind in facts:
            store.partial(step.kind, step.key).mkdir(parents=True)
            manifest = {
                "facts": facts[step.kind],
                "peak_memory_bytes": 3 * 2**20,
                "environment": {"commit": "c" * 40, "dirty": False},
            }
            store.commit(step.kind, step.key, manifest)
    return store


def test_gpu_seconds_are_those_of_the_steps_that_held_one(plan, tmp_path):
    store = made(plan, tmp_path / "store", dataset={"wall_s": 2.0}, synthesize={"wall_s": 5.0, "gpu_s": 5.0})
    cost = rows(plan, store)[-1].cost
    assert (cost.seconds, cost.gpu_seconds, cost.peak_memory_mb) == (7.0, 5.0, 3.0)


def test_without_a_gpu_there_are_no_gpu_seconds(plan, tmp_path):
    cost = rows(plan, made(plan, tmp_path / "store", dataset={"wall_s": 2.0}))[-1].cost
    assert (cost.seconds, cost.gpu_seconds) == (2.0, None)


def test_signatures_of_image_quality_are_joined_as_those_of_an_evaluation(plan, tmp_path):
    store = made(plan, tmp_path / "store", assess={"wall_s": 1.0})
    final = next(iter(plan.rows[0].finals.values()))
    signed = {"FID": "FID|n:3", "SSIM": "SSIM|n:3"}
    (store.path(final.kind, final.key) / SCORES).write_text(json.dumps({"SSIM": 0.5, "signature": signed}))
    assert rows(plan, store)[-1].signature == "FID|n:3 + SSIM|n:3"


def test_the_title_names_the_data_of_the_profile(plan):
    assert plan.suite.title == "Table, on streets"


def test_rows_of_trainings_have_the_crop_and_what_they_are_compared_with(tmp_path):
    found = {row.name: row for row in rows(make_plan("controls", "smoke"), Store(tmp_path))}
    baseline, focus = found["none/oneformer/convnext"], found["focus/oneformer/convnext"]
    assert baseline.crop == focus.crop == (128, 256)
    assert (baseline.role, baseline.recipe, baseline.compared_with) == ("baseline", "", {})
    assert (focus.role, focus.recipe, focus.compared_with) == ("control", "corrected", {"none": "zoom"})
    assert found["duplicate/oneformer/convnext"].expects == "none"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"published": 99}, ["no published table 99"]),
        ({"counterparts": {"convnext": "Mapillary-ConvNext-L"}}, []),
        ({"counterparts": {"convnxt": "Swin-L"}}, ["counterparts.convnxt", "'convnext'"]),
        ({"counterparts": {"convnext": "Swim-L"}}, ["prints no 'Swim-L'", "'Swin-L'"]),
        ({"published": None}, ["no key 'published'"]),
    ],
)
def test_what_only_the_report_would_miss_is_told_with_the_plan(changes, words):
    plan = make_plan("table1", "smoke")
    wrong = replace(plan, suite=plan.suite.model_copy(update=changes))
    if not words:
        return check_published(wrong)
    with pytest.raises(HarnessError) as error:
        check_published(wrong)
    assert all(word in str(error.value) for word in words), str(error.value)
