"""Runs that are killed, interrupted or short of disk: the same command again ends with the same rows and files, and no
process is left behind."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.core.store import Store
from harness.core.upkeep import verify
from harness.planning.plan import make_plan

pytestmark = pytest.mark.slow

SUITE = """
title = "One row"
question = "Does a run that was killed end like one that was not?"
seeds = [0, 1]
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
ROUNDS = 12
"""Times that a run is killed at a random moment."""
DISK = 256 * 2**20
"""Bytes of the disk that is filled: room for the run, and more than what a worker waits for when it is full."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "one.toml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="module")
def whole(suite, tmp_path_factory) -> Store:
    """The store of a run that nothing disturbed."""
    store = Store(tmp_path_factory.mktemp("whole") / "store")
    ends_well(start(suite, store))
    return store


def start(suite: Path, store: Store) -> subprocess.Popen:
    command = [sys.executable, "-m", "harness.cli", "run", str(suite), "--profile", "smoke", "--store", str(store.root)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )


def ends_well(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, output.decode()
    return output.decode()


def wait_until(process: subprocess.Popen, condition: Callable[[], bool], seconds: float = 900) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)


def kill_when(process: subprocess.Popen, condition: Callable[[], bool]) -> None:
    """kill -9 for the runner and all its steps at once, as soon as the condition holds."""
    wait_until(process, condition)
    kill([process.pid, *below(process.pid)])
    process.wait()


def kill(processes: list[int], number: int = signal.SIGKILL) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def below(pid: int) -> list[int]:
    """All processes that `pid` started, and that these started, parents first."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found[1:]


def are_gone(processes: list[int], seconds: float) -> bool:
    """Whether none of them lives within so many seconds."""
    end = time.monotonic() + seconds
    while alive := [pid for pid in processes if is_alive(pid)]:
        if time.monotonic() > end:
            kill(alive)
            return False
        time.sleep(0.05)
    return True


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


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


def assert_same(found: Store, whole: Store) -> None:
    assert rows(found) == rows(whole)
    assert files(found) == files(whole)
    assert not [problem for store in (found, whole) for _, _, wrong in verify(store) for problem in wrong]
    assert not list((found.root / "partial").iterdir()) and not found.leased() and not found.failures()


def is_training(suite: Path, store: Store) -> Callable[[], bool]:
    step = next(step for step in make_plan(str(suite), "smoke").steps().values() if step.kind == "train")
    return lambda: any((store.root / "partial").glob(f"train-{step.key}.*/state.pt"))


def test_a_run_killed_in_every_stage_ends_like_one_that_was_not(suite, whole, tmp_path):
    killed = Store(tmp_path / "killed" / "store")
    steps = {step.kind: step for step in reversed(make_plan(str(suite), "smoke").steps().values())}
    for kind, sign in BEGUN.items():
        step = steps[kind]
        wanted = f"{kind}-{step.key}.*/{sign}".rstrip("/")  # a tenure's folder, whichever it is
        kill_when(start(suite, killed), lambda wanted=wanted: any((killed.root / "partial").glob(wanted)))
        assert any((killed.root / "partial").glob(f"{kind}-{step.key}.*")) and not killed.has(kind, step.key)
        assert all(killed.has(needed.kind, needed.key) for needed in step.inputs.values())
    ends_well(start(suite, killed))
    assert_same(killed, whole)


def test_kill_9_at_any_moment_loses_nothing_and_leaves_no_process(suite, whole, tmp_path):
    """In turn all processes at once, the runner alone, and any one of them while the others go on for a while."""
    killed, rng, rounds = Store(tmp_path / "killed" / "store"), random.Random(0), 0
    for attempt in range(4 * ROUNDS):
        process = start(suite, killed)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(1.0, 7.0))
        every = [process.pid, *below(process.pid)]
        if process.poll() is not None:
            assert process.returncode == 0, process.stdout.read().decode()
            killed = Store(tmp_path / f"killed {attempt}" / "store")  # it was faster than the kill: from the beginning
            continue
        rounds += 1
        victims = (every, every[:1], [rng.choice(every)])[rounds % 3]
        kill(victims)
        if victims not in (every, every[:1]):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.1, 2.0))
            every += below(process.pid)
            kill([process.pid])
        process.wait()
        assert are_gone(every, 10), "kill -9 of the runner left a process behind"
        if rounds == ROUNDS:
            break
    assert rounds == ROUNDS
    ends_well(start(suite, killed))
    assert_same(killed, whole)


def ends_at_once(process: subprocess.Popen, number: int) -> bytes:
    """What a run says that a signal ends within five seconds."""
    process.send_signal(number)
    begun = time.monotonic()
    assert process.wait(60) == 130
    assert time.monotonic() - begun < 5.0
    return process.stdout.read()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_run_within_five_seconds_and_leaves_no_process(suite, whole, tmp_path, name):
    store = Store(tmp_path / "stopped" / "store")
    process = start(suite, store)
    wait_until(process, is_training(suite, store))
    every = below(process.pid)
    assert len(every) >= 3, "a nursery, a worker and a stage"
    output = ends_at_once(process, getattr(signal, name))
    assert b"interrupted" in output and b"Traceback" not in output, output.decode()
    assert are_gone(every, 0.5)
    ends_well(start(suite, store))
    assert_same(store, whole)


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A disk of its own; skipped where this user may mount none."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this user mounts nothing: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, *, leave: int = 0) -> Path:
    """A file that takes all room but so many bytes."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while shutil.disk_usage(disk).free > leave:
            file.write(bytes(2**16))
    return ballast


def waits_for_room(store: Store) -> bool:
    records = [store.tenure(kind, key).record for kind, key in store.leased()]
    return any(record is not None and "disk is full" in record.note for record in records)


@pytest.mark.parametrize("end", ["room is made", "interrupted"])
def test_a_run_on_a_disk_that_fills_up_waits_and_loses_nothing(suite, whole, disk, end):
    store = Store(disk / "store")
    process = start(suite, store)
    wait_until(process, is_training(suite, store))
    ballast = fill(disk)
    wait_until(process, lambda: waits_for_room(store))
    if end == "interrupted":
        every = below(process.pid)
        assert b"Traceback" not in ends_at_once(process, signal.SIGTERM)
        assert are_gone(every, 0.5)
        ballast.unlink()
        process = start(suite, store)
    else:
        time.sleep(3)
        assert process.poll() is None, process.stdout.read().decode()
        ballast.unlink()
    ends_well(process)
    assert_same(store, whole)


def test_a_disk_that_is_too_small_is_refused_before_the_training(suite, whole, disk):
    store = Store(disk / "store")
    ballast = fill(disk, leave=9 * 2**20)
    process = start(suite, store)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 2 and b"Traceback" not in output, output.decode()
    assert b"too little disk" in output and b"make room" in output
    ballast.unlink()
    ends_well(start(suite, store))
    assert_same(store, whole)
