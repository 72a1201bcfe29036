"""Tables of the command line on 60 and 80 columns: every line fits, no number is broken, nothing is cut off."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from harness.commands.tables import print_columns
from harness.core.leases import Holder
from harness.core.store import Store
from harness.planning.plan import make_plan

WIDTHS = (60, 80)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """A store in which a training is at 45 of its 60 iterations, and nobody works on it any more."""
    store = Store(tmp_path_factory.mktemp("narrow") / "store")
    store.open()
    step = next(step for step in make_plan("table1", "smoke").steps().values() if step.kind == "train")
    lease = store.lease("train", step.key, Holder())
    store.adopt("train", step.key, lease)
    lease.beat(45, 60, "loss 1.5")
    lease.release()
    return store


def harness(store: Store, *arguments: str, width: int | None = None) -> list[str]:
    variables = {**os.environ, "HARNESS_STORE": str(store.root)} | ({"COLUMNS": str(width)} if width else {})
    variables = {name: value for name, value in variables.items() if width or name != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def table(lines: list[str], first: str) -> list[str]:
    """The lines of the table whose heading begins so, up to an empty line or one that says what was left out."""
    start = next(i for i, line in enumerate(lines) if line.startswith(first))
    stop = next(
        (i for i, line in enumerate(lines) if i > start and (not line or re.match(r"left out|\S+: ", line))), len(lines)
    )
    return lines[start:stop]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_plan(store, width):
    lines = table(harness(store, "plan", "table1", "--profile", "smoke", width=width), "step")
    assert max(map(len, lines)) <= width and not any("…" in line for line in lines)
    begun = next(line for line in lines if "half done" in line)
    assert begun.split()[0] == "train" and "0.08" in begun, "a quarter of 0.32 core-minutes is left"
    assert [line.split()[0] for line in lines if line[0] != " "].count("evaluate") == 11
    assert ("key" in lines[0]) == (width == 80)


def test_a_plan_says_what_is_left_out_and_a_file_has_all(store):
    narrow = harness(store, "plan", "table1", "--profile", "smoke", width=60)
    assert "left out, since the terminal has 60 columns: key" in narrow
    wide = table(harness(store, "plan", "table1", "--profile", "smoke"), "step")
    keys = {line[wide[0].index("key") :].split()[0] for line in wide[1:]}
    assert keys == set(make_plan("table1", "smoke").steps())


@pytest.mark.parametrize("width", WIDTHS)
def test_a_list(store, width):
    lines = harness(store, "list", width=width)
    rows = table(lines, "kind")
    assert max(map(len, rows)) <= width
    assert any(line.split()[:2] == ["generator", "diff_inpainting"] and "built" in line for line in rows)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_status(store, width):
    step = next(step for step in make_plan("table1", "smoke").steps().values() if step.kind == "dataset")
    lease = store.lease("dataset", step.key, Holder("local", "a-job-with-a-name-of-some-length", "cuda 0,1,2,3"))
    lease.beat(3, 9, "a note that is rather long")
    try:
        lines = table(harness(store, "status", "table1", "--profile", "smoke", width=width), "running")
    finally:
        lease.remove()
    assert max(map(len, lines)) <= width and lines[1].startswith("dataset") and "3 of 9" in "\n".join(lines)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_report(store, width):
    lines = harness(store, "report", "table1", "--profile", "smoke", width=width)
    assert any("64.60" in line for line in lines)
    if width == 80:
        assert max(map(len, lines)) <= width


def test_what_has_no_room_is_left_out_in_the_stated_order():
    columns = {"name": ["a long text of many words"], "key": ["0123456789"], "where": ["here"], "n": ["12"]}
    for width, heads in ((50, "name key where n"), (36, "name key n"), (26, "name n")):
        out = io.StringIO()
        console = Console(file=out, width=width)
        print_columns(console, columns, fold=("name",), spare=("where", "key"))
        lines = out.getvalue().splitlines()
        assert lines[0].split() == heads.split()
        shown = [line for line in lines if not line.startswith("left out")]
        assert max(map(len, shown)) <= width
        second = lines[0].index(f" {heads.split()[1]}")
        assert " ".join(line[:second].strip() for line in shown[1:]) == columns["name"][0]


def test_markup_and_words_without_end_stay_text():
    out = io.StringIO()
    print_columns(Console(file=out, width=30), {"name": ["[red]" + "x" * 40], "n": ["[/b]"]}, fold=("name",))
    text = out.getvalue()
    assert "[/b]" in text and text.count("x") == 40 and max(map(len, text.splitlines())) <= 30


def test_this_folder_has_every_command_that_prints_a_table():
    """A new rich table would need its own look at narrow terminals."""
    folder = Path(sys.modules["harness"].__file__).parent
    assert not [path for path in (folder / "commands").rglob("*.py") if "rich.table import Table" in path.read_text()]
