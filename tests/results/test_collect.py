"""Rows from the store: what a row cost, and whose data its table is about."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core import contents
from harness.core.errors import HarnessError
from harness.core.store import Store
from harness.planning.plan import Plan, chain, make_plan
from harness.results.collect import SCORES, check_published, rows

SUITE = 'title = "Table"\nquestion = "q"\nkind = "image_quality"\n[[rows]]\nmethod = "m"\ngenerator = "focus"\n'


@pytest.fixture
def plan(tmp_path) -> Plan:
    (tmp_path / "s.toml").write_text(SUITE)
    return make_plan(str(tmp_path / "s.toml"), "smoke")


def made(
    plan: Plan, root: Path, *, scores: dict | None = None, environment: dict | None = None, **facts: dict
) -> Store:
    """A store with the plan's steps of the kinds in `facts`; the last one holds the scores."""
    store = Store(root)
    store.open()
    for step in chain(next(iter(plan.rows[0].finals.values()))):
        if step.kind in facts:
            partial = store.partial(step.kind, step.key)
            partial.mkdir(parents=True)
            if scores is not None:
                (partial / SCORES).write_text(json.dumps(scores))
            manifest = {
                "facts": facts[step.kind],
                "peak_memory_bytes": 3 * 2**20,
                "environment": {"commit": "c" * 40, "dirty": False} | (environment or {}),
                "contents": contents.seal(partial),
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


def described(plan: Plan, root: Path, **environment) -> str:
    environment = {"packages": {"torch": "2.9", "numpy": "2.1"}} | environment
    signed = {"SSIM": 0.5, "signature": {"SSIM": "s"}}
    store = made(plan, root, scores=signed, environment=environment, dataset={"wall_s": 1.0}, assess={"wall_s": 1.0})
    return rows(plan, store)[-1].seeds[0].machine


def test_a_row_knows_the_machine_that_decides_its_last_digits(plan, tmp_path):
    assert described(plan, tmp_path / "a", processor="AMD 25 1 avx2") == "AMD 25 1 avx2 torch 2.9 numpy 2.1"
    assert described(plan, tmp_path / "b") == ""
    assert described(plan, tmp_path / "c", processor="AMD 25 1 avx2", gpus=["0"]) == ""


def test_signatures_of_image_quality_are_joined_as_those_of_an_evaluation(plan, tmp_path):
    signed = {"FID": "FID|n:3", "SSIM": "SSIM|n:3"}
    store = made(plan, tmp_path / "store", scores={"SSIM": 0.5, "signature": signed}, assess={"wall_s": 1.0})
    assert rows(plan, store)[-1].signature == "FID|n:3 + SSIM|n:3"


@pytest.mark.parametrize("text", ['{"SSIM": 0.97}', "[]", '{"SSIM": NaN}', ""])
def test_scores_that_were_edited_are_never_reported(plan, tmp_path, text):
    store = made(plan, tmp_path / "store", scores={"SSIM": 0.5}, assess={"wall_s": 1.0})
    final = next(iter(plan.rows[0].finals.values()))
    (store.path(final.kind, final.key) / SCORES).write_text(text)
    with pytest.raises(HarnessError, match=rf"{final.key}.*(\n.*)*run again"):
        rows(plan, store)


@pytest.mark.parametrize(
    ("scores", "said", "words"),
    [
        ({"PQ": 7.0}, {}, "PQ is 7.0, expected a share from 0 to 1"),
        ({"AP": 0.5}, {"AP": 0.4}, "AP is 0.5, the manifest says 0.4"),
        ([1], {}, "expected a table of scores, found list"),
    ],
)
def test_scores_that_cannot_be_are_never_reported(plan, tmp_path, scores, said, words):
    store = made(plan, tmp_path / "store", scores=scores, assess={"wall_s": 1.0, "scores": said})
    with pytest.raises(HarnessError, match=words):
        rows(plan, store)


def test_the_title_names_the_data_of_the_profile(plan):
    assert plan.suite.title == "Table, on streets"


def test_rows_of_trainings_have_the_crop_and_what_they_are_compared_with(tmp_path):
    found = {row.name: row for row in rows(make_plan("controls", "smoke"), Store(tmp_path))}
    baseline, focus = found["none/oneformer/convnext"], found["focus/oneformer/convnext"]
    assert baseline.crop == focus.crop == (96, 192)
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
