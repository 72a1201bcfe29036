"""A store that an older version of the code made: nothing of it is taken for one's own, and every command says so."""

import json

import pytest
from evaluated_store import FOUND, cars, run

from harness import __version__
from harness.cli import main
from harness.data.streets.adapter import Streets
from harness.planning.keys import keys_of
from harness.stages import evaluate


def said(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(one) for one in arguments])
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.fixture
def old(tmp_path):
    """The options that name a store with the evaluation of two seeds."""
    return run(cars(tmp_path / "tree"), tmp_path / "a", seeds=[0, 1], found=FOUND)


def test_what_was_asked_for_has_one_name_in_all_versions():
    old, new = (keys_of("train", version, "{}", {}, "w") for version in (1, 2))
    assert old.key != new.key and old.identity == new.identity
    assert keys_of("evaluate", 1, "{}", {"train": old}, "").key != keys_of("evaluate", 1, "{}", {"train": new}, "").key
    assert keys_of("train", 1, '{"a":1}', {}, "w").identity != old.identity


def test_the_code_that_made_it_takes_it_for_its_own(old, capsys):
    plan = json.loads(said(capsys, "plan", *old, "--json"))
    assert [step["state"] for step in plan["steps"] if step["kind"] == "evaluate"] == ["cached"] * 2
    assert not any(step["other_version"] for step in plan["steps"])
    assert "not comparable" not in said(capsys, "plan", *old) + said(capsys, "status", *old)


def test_other_code_makes_it_anew_and_plan_and_status_say_what_is_there(old, capsys, monkeypatch):
    before, after = evaluate.VERSION, evaluate.VERSION + 1
    there = {entry["key"] for entry in json.loads(said(capsys, "store", "list", "--store", old[-1], "--json"))}
    monkeypatch.setattr(evaluate, "VERSION", after)
    text = f"evaluate: 2 steps made by version {before} of the stage (harness {__version__}), not comparable"
    assert f"{text} with version {after}" in said(capsys, "plan", *old)
    assert f"{text} with version {after}" in said(capsys, "status", *old)
    plan = json.loads(said(capsys, "plan", *old, "--json"))
    steps = [step for step in plan["steps"] if step["kind"] == "evaluate"]
    assert [step["state"] for step in steps] == ["to do"] * 2, "never a hit"
    assert {step["other_version"]["made"] for step in steps} == there
    assert not {step["key"] for step in steps} & there
    status = json.loads(said(capsys, "status", *old, "--json"))
    assert status["stages"]["evaluate"]["done"] == 0
    assert {one["key"] for one in status["other_versions"]} == {step["key"] for step in steps}


def test_the_source_of_a_number_says_it_too(old, capsys, monkeypatch):
    (first, *_) = (entry["key"] for entry in json.loads(said(capsys, "store", "list", "--store", old[-1], "--json")))
    name = json.loads(said(capsys, "plan", *old, "--json"))["rows"][0]["name"]
    assert "not comparable" not in said(capsys, "store", "why", first, "--store", old[-1])
    monkeypatch.setattr(evaluate, "VERSION", evaluate.VERSION + 1)
    shown = said(capsys, "why", old[0], name, "AP", *old[1:])
    assert "seed 0: AP = none" in shown and "not comparable with version" in shown
    assert "not comparable: version" in said(capsys, "store", "why", first, "--store", old[-1])


def test_other_code_of_an_input_counts_as_well(old, capsys, monkeypatch):
    monkeypatch.setattr(Streets, "VERSION", Streets.VERSION + 1)
    assert (
        f"evaluate: 2 steps made by harness {__version__} from other versions of data or inputs, not comparable"
        in said(capsys, "plan", *old)
    )
