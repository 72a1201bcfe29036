"""What scripts read: JSON on standard output, and nothing else there."""

import json
from pathlib import Path

import pytest
from evaluated_store import FOUND, cars, run

from harness.cli import main
from harness.planning.plan import make_plan
from harness.planning.suite import names

BASELINE = str(Path(__file__).resolve().parents[2] / "results" / "baselines" / "table1-mini.json")


def said(capsys, *arguments, code=0):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(one) for one in arguments])
    assert int(ended.value.code or 0) == code
    return json.loads(capsys.readouterr().out)


def test_list_names_every_part(capsys):
    found = said(capsys, "list", "--json")
    assert {one["name"] for one in found if one["kind"] == "suite"} == set(names("suites"))
    assert {"kind": "control", "name": "focus", "label": "Focused crop only", "state": "built"} in found


def test_plan_gives_every_step_with_its_inputs(capsys, tmp_path):
    found = said(capsys, "plan", "table1", "--only", "gligen,swin", "--json", "--store", tmp_path / "store")
    plan = make_plan("table1", "mini").steps()
    keys = {step["key"] for step in found["steps"]}
    assert keys <= plan.keys() and {step["state"] for step in found["steps"]} == {"to do"}
    assert all(set(step["inputs"].values()) <= keys for step in found["steps"])
    (row,) = found["rows"]
    assert row["name"] == "gligen/oneformer/swin"
    evaluations = {step["key"] for step in found["steps"] if step["kind"] == "evaluate"}
    assert set(row["seeds"]) == {"0", "1", "2"} and set(row["seeds"].values()) == evaluations
    assert found["reports"] == str(tmp_path / "reports" / "table1-only-gligen-swin-mini")


def test_compare_gives_every_comparison(capsys):
    sides = [f"{BASELINE}:{name}/oneformer/convnext" for name in ("focus", "none")]
    (one,) = said(capsys, "compare", *sides, "--metric", "AP", "--json")
    assert one["outcome"] == "worse" and one["low"] < one["difference"] < one["high"] < 0
    assert one["difference"] == pytest.approx(one["after"] - one["before"])
    assert one["differs"]["generator"] == ["focus", "none"]


def test_two_suites_of_two_stores_are_compared_with_paired_intervals(capsys, tmp_path):
    """The same cars found by an honest run and by one that finds half: worse; by another honest run: no difference."""
    tree = cars(tmp_path / "tree")
    first = run(tree, tmp_path / "a", seeds=[0, 1], found=FOUND)
    sides = {}
    for name, seeds, share in (("half", [2, 3], FOUND / 2), ("honest", [4, 5], FOUND)):
        other = run(tree, tmp_path / name, seeds=seeds, found=share)
        stores = ["--store", first[-1], "--other-store", other[-1]]
        found = said(capsys, "compare", first[0], other[0], *stores, "--profile", "smoke", "--json")
        sides[name] = {one["metric"]: one["outcome"] for one in found}
    assert sides["half"]["AP"] == "worse" and sides["honest"]["AP"] == "not distinguishable"


def test_check_and_the_store_speak_json(capsys, tmp_path):
    options = run(cars(tmp_path / "tree"), tmp_path / "a", seeds=[0], found=FOUND)
    baseline = tmp_path / "b.json"
    accepted = said(capsys, "check", *options, "--baseline", baseline, "--accept", "--reason", "r", "--json")
    assert {one["reason"] for one in accepted} == {"new"}
    found = said(capsys, "check", *options, "--baseline", baseline, "--json")
    assert {one["kind"] for one in found} == {"same"}
    (entry,) = said(capsys, "store", "list", "--store", options[-1], "--json")
    assert entry["kind"] == "evaluate" and Path(entry["path"]).is_dir()


def test_every_byte_and_every_source_of_a_number_speak_json(capsys, tmp_path):
    options = run(cars(tmp_path / "tree"), tmp_path / "a", seeds=[0], found=FOUND)
    suite, store = options[0], ["--store", options[-1]]
    (entry,) = said(capsys, "store", "list", *store, "--json")
    (checked,) = said(capsys, "store", "verify", *store, "--json", code=1)
    vouched = "the manifest says nothing of the contents"  # no stage has made this artifact
    assert checked == {"kind": "evaluate", "key": entry["key"], "problems": [vouched]}
    (chain,) = said(capsys, "store", "why", entry["key"][:8], *store, "--json")
    assert (chain["key"], chain["path"]) == (entry["key"], entry["path"])
    name = next(row["name"] for row in said(capsys, "plan", *options, "--json")["rows"])
    (source,) = said(capsys, "why", suite, name, "AP", *options[1:], "--json")
    assert source["seed"] == 0 and source["artifacts"][0]["key"] == entry["key"]
    assert float(source["text"]) == json.loads((Path(entry["path"]) / "scores.json").read_text())["AP"]


def test_logs_references_and_accepted_rows_speak_json(capsys, tmp_path):
    logs = tmp_path / "store" / "logs"
    logs.mkdir(parents=True)
    (logs / "train-0123456789abcdef0123.log").write_text("one\ntwo\n")
    found = said(capsys, "logs", "0123", "--store", tmp_path / "store", "--lines", "1", "--json")
    assert (found["kind"], found["lines"], found["failure"]) == ("train", ["two"], None)
    cited = said(capsys, "cite", "table1", "--json")
    assert {"generators/gligen"} <= {part for one in cited["references"] for part in one["parts"]}
    assert all(one["bibtex"].startswith("@") for one in cited["references"])
    accepted = said(capsys, "leaderboard", "--json")
    assert {"table1", "controls"} <= {one["suite"] for one in accepted}


def test_compare_takes_the_rows_that_are_asked_for_of_files_and_suites(capsys, tmp_path):
    def rows(*options: str) -> set[str]:
        found = said(capsys, "compare", BASELINE, BASELINE, *options, "--json")
        return {one["first"] for one in found}

    every = {f"{one}/oneformer/{net}" for one in ("none", "focus", "gligen") for net in ("swin", "convnext")}
    assert every < rows()
    assert rows("--only", "gligen,focus,none", "--without", "swin") == {one for one in every if "convnext" in one}
    assert rows("--only", "focus/oneformer/swin") == {"focus/oneformer/swin"}
    with pytest.raises(SystemExit):
        main(["compare", BASELINE, BASELINE, "--only", "gligem"])
    assert "no row of table1-mini has 'gligem'\n  did you mean 'gligen'?" in capsys.readouterr().err


def test_power_speaks_json(capsys, tmp_path):
    found = said(capsys, "power", "controls", "--effect", "2", "--store", tmp_path, "--json")
    assert any("as planned" in line["name"] for line in found["lines"])
