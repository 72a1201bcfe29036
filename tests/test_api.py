"""The harness from Python: the functions do what the commands do, with objects in place of text."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from evaluated_store import FOUND, cars
from evaluated_store import predict as predicted
from evaluated_store import run as evaluated

import harness
from harness import api
from harness.core.paths import REPOSITORY
from harness.data.tree import Tree

BASELINE = REPOSITORY / "results" / "baselines" / "table1-mini.json"
PAIR = ("oracle/oneformer/convnext", "none/oneformer/convnext")


def test_importing_the_harness_imports_nothing_heavy():
    program = (
        "import sys, harness; dir(harness); assert not {'torch', 'numpy', 'pydantic', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        _ = harness.evalute


def test_every_name_is_there_typed_and_documented():
    page = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    for name in harness.__all__:
        found = getattr(harness, name)
        assert f"`{name}`" in page or f"`harness.{name}" in page or name == "__version__", name
        assert found.__doc__ if name != "__version__" else found
        if inspect.isfunction(found):
            told = inspect.signature(found)
            assert told.return_annotation is not inspect.Signature.empty, name
            assert all(one.annotation is not inspect.Signature.empty for one in told.parameters.values()), name
    assert (REPOSITORY / "harness" / "py.typed").is_file()


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = cars(tmp_path_factory.mktemp("tree"))
    for frame in Tree(root).truths("val")[:4]:
        Tree(root).write_frame("train", "aa", frame.name, frame.read_image(), frame.read_ids())
    return root


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictions")
    return {
        name: predicted(folder / name, np.random.default_rng(seed), share) / "instances"
        for name, seed, share in (("good", 0, FOUND), ("bad", 1, FOUND / 3))
    }


def test_evaluate_gives_the_scores_of_the_command(data, predictions):
    found = harness.evaluate(data, instances=predictions["good"])
    command = ["evaluate", "--data-root", data, "--instances", predictions["good"], "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *map(str, command)], capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    assert {name: found[name] for name in ("AP", "AP50", "PQ")} == {name: said[name] for name in ("AP", "AP50", "PQ")}
    assert found.classes == said["classes"] and found.n_images == said["n_images"] and found["PQ"] is None
    table = found.to_pandas()
    assert table.loc["car", "AP"] == said["classes"]["car"]["AP"] and table.loc["all", "AP"] == said["AP"]
    low_high = found.interval("AP")
    assert low_high.low < found["AP"] < low_high.high
    with pytest.raises(harness.HarnessError, match="no score 'APP'"):
        _ = found["APP"]


def test_two_evaluations_are_compared_over_the_same_frames(data, predictions):
    good, bad = (harness.evaluate(data, instances=predictions[name]) for name in ("good", "bad"))
    (one,) = [one for one in harness.compare(good, bad) if one.metric == "AP"]
    assert one.outcome == "worse" and one.low < one.difference < one.high < 0
    assert one.difference == pytest.approx(bad["AP"] - good["AP"])
    assert {one.outcome for one in harness.compare(good, good)} == {"not distinguishable"}
    with pytest.raises(harness.HarnessError, match="scores are compared with scores"):
        harness.compare(good, str(BASELINE))


def test_a_synthesis_knows_its_entries(data, tmp_path):
    made = harness.synthesize(data, tmp_path / "out", generator="recolor", limit=2, variants=1, top_k=2)
    assert made.facts["images"] == 4 == len(made.entries) == len(made.to_pandas())
    assert {entry.class_name for entry in made.entries} == {"car"}
    assert harness.synthesize(data, tmp_path / "out", generator="recolor", limit=2, variants=1, top_k=2) == made


def test_a_plan_takes_what_the_command_line_takes():
    made = harness.plan(
        "table1",
        seeds=2,
        only=["gligen", "swin"],
        settings={"segmenters.oneformer.training.iterations": 5, "generators.gligen.options.steps": 2},
    )
    (row,) = made.rows
    assert [*row.finals] == [0, 1] and row.settings["generators.gligen.options.steps"] == "2"
    for wrong in ({"seeds": 0}, {"seeds": [1, 1]}, {"only": "glign"}, {"settings": {"segmenters.x.y": 1}}):
        with pytest.raises(harness.HarnessError):
            harness.plan("table1", **wrong)


def test_rows_come_from_baselines_and_stores_and_are_compared(tmp_path, data):
    accepted = harness.rows(BASELINE)
    assert accepted["none/oneformer/swin"].scores["AP"] == accepted.only("none/oneformer/swin")[0].scores["AP"]
    assert len(accepted[:2]) == 2 and accepted[0].name in accepted.to_pandas()["row"].tolist()
    found = harness.compare(accepted.only(PAIR[0]), accepted.only(PAIR[1]), metrics=["PQ"])
    assert [one.outcome for one in found] == ["worse"] and len(found.to_pandas()) == 1
    assert harness.compare(f"{BASELINE}:{PAIR[0]}", f"{BASELINE}:{PAIR[1]}", metrics=["PQ"])[0] == found[0]
    suite, *_, store = evaluated(data, tmp_path, seeds=[0, 1], found=FOUND)
    measured = harness.rows(suite, profile="smoke", store=store)
    table = measured.to_pandas()
    assert table["seed"].tolist() == [0, 1] and table["AP"].tolist() == [run.scores["AP"] for run in measured[0].seeds]
    with pytest.raises(harness.HarnessError, match="has no row 'none'"):
        _ = measured["none"]


def test_a_run_whose_results_are_there_runs_nothing_and_returns_its_rows(tmp_path, data):
    suite, *_, store = evaluated(data, tmp_path, seeds=[0], found=FOUND)
    found = harness.run(suite, profile="smoke", store=store, tell=pytest.fail)
    assert found[0].status == "ok" and not found.failed and (found.reports / "report.html").is_file()


def test_without_pandas_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(harness.HarnessError, match="pandas is not installed"):
        harness.rows(BASELINE).to_pandas()


@pytest.mark.slow
def test_a_run_trains_and_its_failures_are_told(tmp_path):
    heard = []
    options = {"profile": "smoke", "store": tmp_path / "store", "only": ["none", "convnext"], "device": "cpu"}
    found = harness.run("table1", tell=heard.append, **options)
    assert found["none/oneformer/convnext"].scores["AP"] is not None and not found.failed
    assert {event.what for event in heard} >= {"start", "done"}
    assert api.run("table1", tell=pytest.fail, **options) == found
    broken = harness.run("table1", settings={"segmenters.oneformer.training.learning_rate": 1e12}, **options)
    assert broken[0].status == "failed" and any("train" in name for name in broken.failed)
