"""The runner: each step once, resume after kill -9, failures recorded while the rest goes on, nothing left behind."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.store import Store
from harness.planning.plan import Step, make_step
from harness.running.scheduler import Event, _groups, run
from harness.segmenters.base import SegmenterPart
from harness.stages.dataset import DatasetSpec
from harness.stages.train import TrainSpec

COUNT = 12


class Steps:
    """The part of a plan that the runner sees."""

    def __init__(self, *steps: Step) -> None:
        self.steps = steps

    def missing(self, store: Store) -> dict[str, Step]:
        return {step.key: step for step in self.steps if not store.has(step.kind, step.key)}


def drawing(count: int = COUNT, seed: int = 5) -> Step:
    spec = DatasetSpec(label="s", adapter="streets", seed=seed, size=(64, 128), counts={"train": count})
    return make_step("dataset", f"streets {count}", spec, {})


def fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def test_makes_each_step_once_and_tells_what_happens(tmp_path):
    store, events = Store(tmp_path), []
    step = drawing(2)
    assert run(Steps(step), store, tell=events.append).made == [step]
    assert [event.what for event in events if event.what != "progress"] == ["start", "done"]
    assert any(event.what == "progress" and 0 < event.done <= event.total for event in events)
    manifest = store.manifest("dataset", step.key)
    assert manifest["facts"]["wall_s"] > 0
    assert manifest["peak_memory_bytes"] > 2**20
    assert manifest["environment"]["python"]
    assert run(Steps(step), store).made == []


def test_a_failed_step_is_recorded_its_dependents_wait_and_the_others_run(tmp_path):
    store = Store(tmp_path)
    good, bad = drawing(1), drawing(2)
    store.open()
    store.partial("dataset", bad.key).write_text("a file where the step needs a folder")
    dependent = make_step("dataset", "after bad", bad.spec, {"dataset": bad})
    outcome = run(Steps(bad, dependent, good), store)
    assert outcome.made == [good]
    assert set(outcome.failed) == {bad.key, dependent.key}
    assert "FileExistsError" in store.failure("dataset", bad.key)["traceback"]
    assert "FileExistsError" in store.log("dataset", bad.key).read_text()
    store.partial("dataset", bad.key).unlink()
    assert set(s.key for s in run(Steps(bad, dependent), store).made) == {bad.key, dependent.key}
    assert store.failure("dataset", bad.key) is None


def test_a_step_whose_process_dies_is_a_failure_that_says_so(tmp_path):
    store, step = Store(tmp_path), drawing(200)

    def kill(event: Event) -> None:
        if event.what == "progress":
            children = subprocess.run(
                ["pgrep", "-P", str(os.getpid()), "-f", "harness.running.worker"], capture_output=True, text=True
            )
            for child in children.stdout.split():
                os.kill(int(child), signal.SIGKILL)

    outcome = run(Steps(step), store, tell=kill)
    assert "was killed" in outcome.failed[step.key]["failure"]


def test_kill_9_of_the_runner_stops_its_steps_and_the_next_run_goes_on(tmp_path):
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]); "
        "from test_scheduler import Steps, drawing; "
        "from harness.running.scheduler import run; from harness.core.store import Store; "
        "run(Steps(drawing(40)), Store(Path(sys.argv[1])))"
    )
    killed, whole, step = Store(tmp_path / "killed"), Store(tmp_path / "whole"), drawing(40)
    arguments = [sys.executable, "-c", program, str(killed.root), str(Path(__file__).parent)]
    runner = subprocess.Popen(arguments)
    partial = killed.partial("dataset", step.key)
    wait_for(lambda: len(list(partial.glob("leftImg8bit/train/*/*.png"))) >= 3)
    workers = subprocess.run(["pgrep", "-P", str(runner.pid)], capture_output=True, text=True).stdout.split()
    assert workers
    runner.kill()
    runner.wait()
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    assert not killed.has("dataset", step.key)
    done_before = len(list(partial.glob("leftImg8bit/train/*/*.png")))
    assert 3 <= done_before < 40

    assert run(Steps(step), killed).made == [step]
    run(Steps(step), whole)
    assert fingerprint(killed.path("dataset", step.key)) == fingerprint(whole.path("dataset", step.key))


def training(**changes) -> Step:
    table = {"iterations": 1, "batch_size": 4, "crop": (32, 32), "short_sides": [32], "learning_rate": 1e-3}
    part = SegmenterPart(
        label="Toy",
        adapter="fastinst",
        backbones={"r": {"label": "R", "family": "resnet"}},
        training=table | changes,
    )
    data = drawing(1)
    return make_step("train", "toy", TrainSpec(segmenter=part, backbone="r", seed=0), {"dataset": data})


@pytest.mark.parametrize(("changes", "left"), [({}, 4), ({"accumulate": 2}, 2)])
def test_devices_that_cannot_share_a_batch_are_told_before_anything_is_made(changes, left, tmp_path):
    store, train = Store(tmp_path), training(**changes)
    with pytest.raises(HarnessError) as told:
        run(Steps(drawing(1), train), store, devices=3)
    assert told.value.message == f"segmenter Toy: {left} images at a time cannot be shared by 3 devices"
    assert "batch_size" in told.value.hint
    assert not list(tmp_path.rglob("*.png"))
    assert train.spec.on(2).devices == 2


def test_more_devices_than_there_are_is_one_message():
    with pytest.raises(HarnessError, match="3 devices for a training: this machine has 2 GPUs"):
        _groups(["0", "1"], 3)
    assert _groups(["0", "1", "5"], 2) == ["0,1"]
    assert _groups([], 3) == []


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail("waited too long")
        time.sleep(0.02)
