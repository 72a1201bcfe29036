"""Names to classes: near names for a typo, plug-ins by entry point, no name twice."""

import subprocess
import sys
from fractions import Fraction
from importlib.metadata import EntryPoint

import pytest

from harness.core import registry
from harness.core.errors import HarnessError, near
from harness.core.registry import Adapter, Registry
from harness.generators.base import GENERATORS, Generator
from harness.metrics.table import METRICS
from harness.segmenters.base import SEGMENTERS


@pytest.mark.parametrize("kind", [GENERATORS, SEGMENTERS, METRICS])
def test_every_builtin_can_be_loaded(kind: Registry):
    for name in kind.names():
        assert kind.load(name).__module__.startswith("harness.")


def test_an_unknown_name_has_a_near_one():
    with pytest.raises(HarnessError, match=r"unknown generator adapter 'recolour'(.|\n)*'recolor'"):
        GENERATORS.load("recolour")


def test_plug_ins_add_names_and_may_not_take_one(monkeypatch):
    points = [EntryPoint(name="mine", value="fractions:Fraction", group="harness.generators")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "harness.generators" else [])
    mine = Registry("generator", {"identity": "a:B"}, base=object)
    assert mine.names() == ["identity", "mine"]
    assert mine.load("mine") is Fraction
    points[:] = [EntryPoint(name="identity", value="os:PathLike", group="harness.generators")]
    with pytest.raises(HarnessError, match="'identity' is claimed by 'os:PathLike' and by 'a:B'"):
        Registry("generator", {"identity": "a:B"}, base=object).names()


def test_a_plug_in_that_cannot_be_loaded_names_its_entry_point():
    for value in ("no_such_module:Thing", "os:no_such_thing"):
        with pytest.raises(HarnessError, match=f"'mine' can't be loaded from '{value}'"):
            Registry("generator", {"mine": value}, base=object).load("mine")


def test_what_lacks_the_extra_that_runs_says_which():
    load = "import sys; sys.modules['torch'] = None; from harness.core.registry import Registry; {}"
    text = load.format("Registry('generator', {'mine': 'harness.weights.tensors:save'}, base=object).load('mine')")
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert "HarnessError: the generator 'mine' needs torch, which is not installed" in done.stderr
    text = load.format("from harness.generators.base import GENERATORS; print(GENERATORS.load('gligen').__name__)")
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout


def test_a_plug_in_that_raises_when_imported_is_named_and_the_others_stay(tmp_path, monkeypatch):
    (tmp_path / "breaks_on_import.py").write_text("raise ValueError('out of order')\n")
    monkeypatch.syspath_prepend(tmp_path)
    kind = Registry("generator", {**GENERATORS.builtin, "broken": "breaks_on_import:Painter"}, base=Generator)
    with pytest.raises(HarnessError, match=r"'broken' can't be loaded .*ValueError: out of order"):
        kind.load("broken")
    assert kind.load("identity") is GENERATORS.load("identity")


def test_a_class_of_another_kind_names_the_base_class():
    with pytest.raises(HarnessError, match=r"'mine': 'fractions:Fraction' does not derive from Adapter") as error:
        Registry("generator", {"mine": "fractions:Fraction"}, base=Adapter).load("mine")
    assert "class Fraction(Adapter), from harness.core.registry" in error.value.hint


def test_a_hint_names_no_more_than_some_of_thousands():
    hint = near("zz", [f"aachen_{number:06}" for number in range(2975)])
    assert hint.startswith("known: aachen_000000, aachen_000001, ") and hint.endswith(", and 2935 more")
    assert near("zz", ["b", "a"]) == "known: a, b"
