"""No process that the harness starts imports from the folder that a user stands in."""

import os
import subprocess
import sys

import pytest
from steps import Steps, drawing

from harness.core.paths import REPOSITORY
from harness.core.store import Store
from harness.running.scheduler import run

PLANTED = ("resource", "struct", "queue", "selectors", "multiprocessing", "logging", "json", "harness")
PROGRAM = """
import sys
sys.path[:] = [{code!r}, *filter(None, sys.path)]
from harness.core.pools import fresh
if __name__ == "__main__":
    with fresh(2) as pool:
        print(sum(pool.map(abs, [1, -2, 3])))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with files that leave a trace when something imports them."""
    place = tmp_path / "here"
    place.mkdir()
    for name in PLANTED:
        (place / f"{name}.py").write_text(f"open({str(tmp_path / f'imported {name}')!r}, 'w')\n")
    monkeypatch.chdir(place)
    return place


def imported(folder):
    return [path.name for path in folder.parent.glob("imported *")]


def test_a_pool_imports_nothing_from_there(folder, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM.format(code=str(REPOSITORY)))
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True, env=variables)
    assert done.stdout == "6\n", done.stderr
    assert imported(folder) == []


def test_workers_import_nothing_from_there(folder, tmp_path):
    step = drawing(1)
    assert run(Steps(step), Store(tmp_path / "store")).made == [step]
    assert imported(folder) == []
