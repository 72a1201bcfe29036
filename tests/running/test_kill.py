"""kill -9 of a whole run in the middle of each stage: the same command again ends with the same rows and files."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.store import Store
from harness.core.upkeep import verify
from harness.planning.plan import make_plan

SUITE = """
title = "One row"
question = "Does a run that was killed end like one that was not?"
[[rows]]
method = "InstSynth"
generator = "diff_inpainting"
segmenter = "oneformer"
backbone = "convnext"
"""

BEGUN = {
    "synthesize": "batches/000000.json",
    "train": "state.pt",
    "predict": "entries/*.json",
    "evaluate": "",
}
"""By stage, what lies in its folder when it is in the middle of its work (evaluation keeps nothing half-made)."""


def start(suite: Path, store: Store) -> subprocess.Popen:
    command = [sys.executable, "-m", "harness.cli", "run", str(suite), "--profile", "smoke", "--store", str(store.root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def kill_when(process: subprocess.Popen, condition: Callable[[], bool], seconds: float = 900) -> None:
    """kill -9 for the runner and all its steps at once, as soon as the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def rows(store: Store) -> list[dict]:
    """The rows without what says when and at which commit they were made, not what they are."""
    found = json.loads((store.root.parent / "reports" / "one-smoke" / "rows.json").read_text())["rows"]
    for row in found:
        assert row.pop("cost")["seconds"] > 0
        assert [run.pop("commit") for run in row.get("seeds", [])]
    return found


def files(store: Store) -> dict[str, str]:
    """What the artifacts hold. Manifests and trackers' event files note the time of day and are left out, and so are
    the lists that name these; `verify` reads every list against its files."""
    root = store.root / "artifacts"
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and path.name not in ("manifest.json", "contents.json")
        and not path.name.startswith("events.out.tfevents.")
    }


@pytest.mark.slow
def test_a_run_killed_in_every_stage_ends_like_one_that_was_not(tmp_path):
    suite = tmp_path / "one.toml"
    suite.write_text(SUITE)
    whole, killed = Store(tmp_path / "whole" / "store"), Store(tmp_path / "killed" / "store")
    process = start(suite, whole)
    output, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, output.decode()

    steps = {step.kind: step for step in make_plan(str(suite), "smoke").steps().values()}
    for kind, sign in BEGUN.items():
        step = steps[kind]
        wanted = f"{kind}-{step.key}.*/{sign}".rstrip("/")  # a tenure's folder, whichever it is
        kill_when(start(suite, killed), lambda wanted=wanted: any((killed.root / "partial").glob(wanted)))
        assert any((killed.root / "partial").glob(f"{kind}-{step.key}.*")) and not killed.has(kind, step.key)
        assert all(killed.has(needed.kind, needed.key) for needed in step.inputs.values())
    process = start(suite, killed)
    output, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, output.decode()

    assert rows(killed) == rows(whole)
    assert files(killed) == files(whole)
    assert not [problem for store in (killed, whole) for _, _, found in verify(store) for problem in found]
    assert not list((killed.root / "partial").iterdir())
