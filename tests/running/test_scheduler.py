"""The runner: each step once, resume after kill -9, failures recorded while the rest goes on, nothing left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from steps import COUNT, Steps, drawing, fingerprint

from harness.core import contents
from harness.core.contents import MANIFEST, problems
from harness.core.errors import HarnessError
from harness.core.failures import Failure
from harness.core.leases import born
from harness.core.store import Store
from harness.planning.plan import Step, make_step
from harness.running.launcher import Ended
from harness.running.local import groups_of
from harness.running.scheduler import heal, run
from harness.running.watch import Watcher
from harness.segmenters.base import SegmenterPart
from harness.stages.train import TrainSpec


def test_makes_each_step_once_and_tells_what_happens(tmp_path):
    store, events = Store(tmp_path), []
    step = drawing(COUNT)
    assert run(Steps(step), store, tell=events.append).made == [step]
    assert [event.what for event in events if event.what != "progress"] == ["start", "done"]
    assert any(event.what == "progress" and 0 < event.done <= event.total for event in events)
    manifest = store.manifest("dataset", step.key)
    assert manifest["facts"]["wall_s"] > 0
    assert manifest["peak_memory_bytes"] > 2**20
    assert manifest["environment"]["python"]
    assert manifest["job"]["launcher"] == "local" and manifest["job"]["host"]
    assert problems(store.path("dataset", step.key), manifest["contents"]) == []
    assert run(Steps(step), store).made == []
    assert not list((tmp_path / "leases").iterdir()) and not list((tmp_path / "partial").iterdir())


def blocked(store: Store, step: Step) -> Path:
    """A link that leads nowhere, in the folder of the step: its process raises when it reads what was made."""
    store.open()
    link = store.partial(step.kind, step.key) / "link"
    link.parent.mkdir()
    link.symlink_to("nowhere")
    return link


def test_a_failed_step_is_recorded_its_dependents_wait_and_the_others_run(tmp_path):
    store = Store(tmp_path)
    good, bad = drawing(1), drawing(2)
    dependent = make_step("dataset", "after bad", bad.spec, {"dataset": bad})
    blocked(store, bad)
    outcome = run(Steps(bad, dependent, good), store)
    assert outcome.made == [good]
    assert {key: record.kind for key, record in outcome.failed.items()} == {bad.key: "error", dependent.key: "input"}
    record = store.failure("dataset", bad.key)
    assert "FileNotFoundError" in record.traceback
    assert "FileNotFoundError" in (tmp_path / record.log).read_text()
    assert record.environment["python"] and record.job["host"]


def test_a_step_that_would_fail_in_the_same_way_is_tried_again_only_when_asked(tmp_path):
    store, bad = Store(tmp_path), drawing(2)
    dependent = make_step("dataset", "after bad", bad.spec, {"dataset": bad})
    blocked(store, bad)
    run(Steps(bad, dependent), store)
    for folder in (tmp_path / "partial").iterdir():
        (folder / "link").unlink(missing_ok=True)
    outcome = run(Steps(bad, dependent), store)
    assert outcome.made == [] and set(outcome.failed) == {bad.key, dependent.key}
    assert "--retry-failed" in outcome.failed[bad.key].hint
    outcome = run(Steps(bad, dependent), store, retry_failed=True)
    assert [step.key for step in outcome.made] == [bad.key, dependent.key]
    assert store.failure("dataset", bad.key) is None


@pytest.mark.parametrize("damage", ["deleted", "changed"])
def test_an_input_that_is_not_as_it_was_made_is_set_aside_and_made_again(tmp_path, damage):
    """A step that failed for another reason is not tried again with it."""
    store, first, bad = Store(tmp_path), drawing(2), drawing(3)
    blocked(store, bad)
    second = drawing(1, after=[first])
    third, fourth = drawing(4, after=[second]), drawing(5, after=[second, bad])
    run(Steps(first), store)
    whole = fingerprint(store.path(first.kind, first.key))
    label = next(store.path(first.kind, first.key).rglob("*_labelIds.png"))
    label.unlink() if damage == "deleted" else label.write_bytes(label.read_bytes()[:-1] + b"x")
    events = []
    outcome = run(Steps(first, bad, second, third, fourth), store, tell=events.append)
    assert outcome.made == [first, second, third]
    assert {key: record.kind for key, record in outcome.failed.items()} == {bad.key: "error", fourth.key: "input"}
    assert [event.step for event in events if event.what == "failed"].count(bad) == 1
    (aside,) = [event for event in events if event.what == "set aside"]
    assert aside.step == first and label.name in aside.note
    assert fingerprint(store.path(first.kind, first.key)) == whole
    assert [path.name for path in (tmp_path / "damaged").iterdir()] == [f"{first.kind}-{first.key}.1"]


@pytest.mark.parametrize("damage", ["deleted", "changed", "manifest"])
def test_a_last_step_that_is_not_as_it_was_made_is_set_aside_and_made_again(tmp_path, damage):
    store, whole, last, absent = Store(tmp_path), drawing(2), drawing(3), drawing(4)
    plan = SimpleNamespace(rows=[SimpleNamespace(finals={0: whole, 1: last}), SimpleNamespace(finals={0: absent})])
    run(Steps(whole, last), store)
    before = fingerprint(store.path(last.kind, last.key))
    heal(plan, store, pytest.fail)
    path = store.path(last.kind, last.key) / "manifest.json"
    if damage != "manifest":
        path = next(path.parent.rglob("*_labelIds.png"))
    path.unlink() if damage == "deleted" else path.write_bytes(path.read_bytes()[:-1] + b"x")
    events = []
    heal(plan, store, events.append)
    assert [(event.step, event.what) for event in events] == [(last, "set aside")] and path.name in events[0].note
    assert run(Steps(whole, last), store).made == [last]
    assert fingerprint(store.path(last.kind, last.key)) == before


def test_what_a_stage_warned_of_is_told_when_it_is_done(tmp_path):
    store, step, events = Store(tmp_path), drawing(1), []
    run(Steps(step), store)
    manifest = store.manifest(step.kind, step.key)
    assert "warnings" not in manifest
    watcher = Watcher({step.key: step}, store, events.append)
    watcher.made(step.key)
    assert events[-1].note == ""
    del manifest["seal"]
    text = json.dumps(contents.vouched_for(manifest | {"warnings": ["state.pt is damaged", "it begins anew"]}))
    (store.path(step.kind, step.key) / MANIFEST).write_text(text)
    watcher.made(step.key)
    assert events[-1].note == "state.pt is damaged\nit begins anew"


def test_more_workers_than_there_is_work_are_never_started(tmp_path):
    steps = [drawing(1, seed) for seed in range(3)]
    assert len(run(Steps(*steps), Store(tmp_path), workers=10**9).made) == 3


@pytest.mark.parametrize("kind", ["usage", "disk", "killed", "lost"])
def test_what_failed_for_a_reason_outside_is_tried_again(kind, tmp_path):
    store, step = Store(tmp_path), drawing(1)
    store.open()
    store.fail("dataset", step.key, Failure(kind=kind, message="before"))
    assert run(Steps(step), store).made == [step]
    assert store.failure("dataset", step.key) is None


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that live."""
    with contextlib.suppress(OSError):
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return []


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, parents first."""
    found = [pid]
    for process in found:
        found += children(process)
    return found[1:]


def deepest(pid: int, depth: int) -> list[int]:
    """The processes so many generations below `pid`: of a runner, 1 are nurseries, 2 workers and 3 stages."""
    found = [pid]
    for _ in range(depth):
        found = [child for process in found for child in children(process)]
    return found


@contextlib.contextmanager
def killing(limit: int) -> Iterator[list[int]]:
    """Kill so many stage processes of this process; those that were killed."""
    killed: list[int] = []
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(0.05) and len(killed) < limit:
            for stage in deepest(os.getpid(), 3):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(stage, signal.SIGKILL)
                    killed.append(stage)

    killer = threading.Thread(target=kill)
    killer.start()
    yield killed
    ended.set()
    killer.join()


def test_a_stage_that_dies_again_and_again_is_a_failure_that_says_so(tmp_path):
    store, step = Store(tmp_path), drawing(2000)
    store.open()
    with killing(1000):
        outcome = run(Steps(step), store)
    assert outcome.failed[step.key].kind == "killed"
    assert "killed 3 times without progress" in outcome.failed[step.key].message


def test_a_stage_that_is_killed_once_goes_on(tmp_path):
    store, step = Store(tmp_path), drawing(COUNT)
    with killing(1) as killed:
        assert run(Steps(step), store).made == [step]
    assert len(killed) == 1


RUN = (
    "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]); "
    "from steps import Steps, drawing; "
    "from harness.running.scheduler import run; from harness.core.store import Store; "
    "run(Steps(drawing(int(sys.argv[3]))), Store(Path(sys.argv[1])))"
)


def start_runner(store: Store, count: int) -> subprocess.Popen:
    """A runner in a process of its own, at work on a drawing."""
    command = [sys.executable, "-c", RUN, str(store.root), str(Path(__file__).parent), str(count)]
    runner = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(drawn(store)) >= 2)
    return runner


def drawn(store: Store) -> list[Path]:
    return list((store.root / "partial").glob("*/leftImg8bit/train/*/*.png"))


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if born(pid)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> str:
    """What a run makes that nothing happens to."""
    store, step = Store(tmp_path_factory.mktemp("whole")), drawing(COUNT)
    run(Steps(step), store)
    return fingerprint(store.path("dataset", step.key))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_end_of_the_runner_ends_its_steps_and_the_next_run_goes_on(number, undisturbed, tmp_path):
    killed, step = Store(tmp_path / "killed"), drawing(COUNT)
    runner = start_runner(killed, COUNT)
    below = descendants(runner.pid)
    assert len(below) == 3
    runner.send_signal(number)
    runner.wait()
    wait_for(lambda: not alive(below))
    assert not killed.has("dataset", step.key)
    done_before = len(drawn(killed))
    assert 2 <= done_before < COUNT

    assert run(Steps(step), killed).made == [step]
    assert fingerprint(killed.path("dataset", step.key)) == undisturbed


def test_a_worker_that_is_killed_is_noticed_and_its_step_goes_on(tmp_path):
    store, step = Store(tmp_path), drawing(COUNT)
    runner = start_runner(store, COUNT)
    nursery, worker, stage = descendants(runner.pid)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: not alive([worker, stage]))
    assert runner.wait(60) == 0
    assert store.has("dataset", step.key)
    assert not alive([nursery])


class Slow:
    """A launcher whose worker takes a while to begin, as one that imports a framework on a busy machine."""

    name = "local"

    def __init__(self, store: Store, polls: int) -> None:
        self.store, self.polls = store, polls
        self.jobs, self.cancelled = [], []

    def start(self, jobs) -> None:
        self.jobs += jobs

    def poll(self, seconds: float) -> list[Ended]:
        self.polls -= 1
        if self.polls > 0 or self.cancelled:
            ended = [Ended(key, "cancelled") for key in self.cancelled]
            self.cancelled.clear()
            return ended
        for job in self.jobs:
            self.store.partial(job.kind, job.id).mkdir(exist_ok=True)
            self.store.commit(job.kind, job.id, {})
        return [Ended(job.id, "exited") for job in self.jobs]

    def cancel(self, ids) -> None:
        self.cancelled += ids

    def close(self) -> None:
        pass


def test_the_lease_that_a_killed_run_left_ends_no_worker_that_has_not_begun(tmp_path, monkeypatch):
    store, step = Store(tmp_path), drawing(1)
    store.open()
    program = (
        "import os, sys; from harness.core.store import Store; from harness.core.leases import Holder;"
        "Store(__import__('pathlib').Path(sys.argv[1])).lease(sys.argv[2], sys.argv[3], Holder()); os._exit(9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path), step.kind, step.key], check=False)
    assert killed.returncode == 9 and store.tenure(step.kind, step.key).record.held
    monkeypatch.setattr("harness.running.scheduler.LOOK", 0.0)
    assert run(Steps(step), store, launcher=Slow(store, polls=10)).made == [step]


def test_two_runners_on_one_store_make_a_step_once(tmp_path):
    store, step = Store(tmp_path), drawing(COUNT)
    first = start_runner(store, COUNT)
    outcome = run(Steps(step), store)
    assert first.wait(60) == 0
    assert outcome.made == [step]
    assert problems(store.path("dataset", step.key), store.manifest("dataset", step.key)["contents"]) == []


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
        groups_of(["0", "1"], 3)
    assert groups_of(["0", "1", "5"], 2) == ["0,1"]
    assert groups_of([], 3) == []


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail("waited too long")
        time.sleep(0.02)
