"""Twenty rounds in which everything goes wrong: each ends with what an undisturbed run makes, each step committed once.

A round disturbs one or two runners of a small grid, the second with another launcher, until they are done.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from steps import Steps, fingerprints, grid
from test_kill import below, fill

from harness.core.store import Store
from harness.core.upkeep import verify
from harness.planning.plan import Step
from harness.running.scheduler import run

pytestmark = pytest.mark.slow

ROUNDS = 20
DISK = 256 * 2**20
"""Bytes of the disk that is filled: more than what a worker waits for when it is full."""
TIMES = 4
"""How often a round disturbs."""

RUNNER = """
import re, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from steps import Steps, grid
from harness.core.paths import REPOSITORY
from harness.core.store import Store
from harness.running.scheduler import run

store, launcher = Store(Path(sys.argv[1])), None
if sys.argv[3] == "hosts":
    page = (REPOSITORY / "docs" / "how-to" / "launcher.md").read_text(encoding="utf-8")
    names = {}
    exec(re.search(r'```python title="harness/running/hosts.py"\\n(.*?)```', page, re.DOTALL)[1], names)
    launcher = names["Hosts"](store, [["bash", "-c"], ["bash", "-c"]])
outcome = run(Steps(*grid()), store, launcher=launcher, workers=None if launcher else 2)
if outcome.failed:
    sys.exit("; ".join(record.message for record in outcome.failed.values()))
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[str]:
    store = Store(tmp_path_factory.mktemp("whole"))
    run(Steps(*grid()), store, workers=2)
    return fingerprints(grid(), store)


class Commits(threading.Thread):
    """Watches every artifact: a second commit of a step would be another folder."""

    def __init__(self, store: Store, steps: list[Step]) -> None:
        super().__init__(daemon=True)
        self.store, self.steps = store, steps
        self.seen: dict[str, set[int]] = {step.key: set() for step in steps}
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.005):
            self.look()

    def look(self) -> None:
        for step in self.steps:
            with contextlib.suppress(OSError):
                self.seen[step.key].add(os.stat(self.store.path(step.kind, step.key)).st_ino)


class Chaos:
    """One round: runners on a store, and what disturbs them."""

    def __init__(self, store: Store, launchers: list[str], rng: random.Random) -> None:
        self.store, self.rng, self.steps = store, rng, grid()
        self.runners = {launcher: self.start(launcher) for launcher in launchers}
        self.damaged: set[str] = set()
        self.commits = Commits(store, self.steps)
        self.commits.start()

    def start(self, launcher: str) -> subprocess.Popen:
        command = [sys.executable, "-c", RUNNER, str(self.store.root), str(Path(__file__).parent), launcher]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)

    def processes(self) -> list[int]:
        alive = [runner.pid for runner in self.runners.values() if runner.poll() is None]
        return alive + [pid for runner in alive for pid in below(runner)]

    def is_over(self) -> bool:
        return all(runner.poll() is not None for runner in self.runners.values())

    def begun(self) -> None:
        """Wait until a step is at work."""
        end = time.monotonic() + 60
        while not self.is_over() and not any((self.store.root / "partial").glob("*/leftImg8bit/train/*/*.png")):
            assert time.monotonic() < end, "nothing began"
            time.sleep(0.02)

    def end(self) -> None:
        """Until all is made; a runner that was killed is started again."""
        end = time.monotonic() + 400
        for launcher in self.runners:
            while True:
                _, said = self.runners[launcher].communicate(timeout=max(1, end - time.monotonic()))
                if self.runners[launcher].returncode == 0:
                    break
                assert self.runners[launcher].returncode == -signal.SIGKILL, said.decode()
                self.runners[launcher] = self.start(launcher)
        self.commits.ended.set()
        self.commits.join()
        self.commits.look()


def kill(chaos: Chaos) -> None:
    """SIGKILL for a runner, a nursery, a worker or a stage."""
    if processes := chaos.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(chaos.rng.choice(processes), signal.SIGKILL)


def stop(chaos: Chaos) -> None:
    """SIGSTOP for one of them, which wakes up some seconds later."""
    if processes := chaos.processes():
        pid = chaos.rng.choice(processes)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(chaos.rng.uniform(0.2, 3.0))
            os.kill(pid, signal.SIGCONT)


def full(chaos: Chaos) -> None:
    """The disk takes nothing for a while."""
    ballast = fill(chaos.store.root.parent)
    time.sleep(chaos.rng.uniform(0.5, 2.0))
    ballast.unlink()


def truncated(chaos: Chaos) -> None:
    """An artifact that others are still to read loses the end of a file."""
    roots = [step for step in chaos.steps[:4] if chaos.store.has(step.kind, step.key)]
    needed = [
        s for s in roots if not any(chaos.store.has(d.kind, d.key) for d in chaos.steps if s in d.inputs.values())
    ]
    if needed and not chaos.damaged:
        step = chaos.rng.choice(needed)
        picture = next(chaos.store.path(step.kind, step.key).rglob("*.png"))
        chaos.damaged.add(step.key)
        with contextlib.suppress(FileNotFoundError):
            os.truncate(picture, picture.stat().st_size // 2)


def clock(chaos: Chaos) -> None:
    """The clock of the file system jumps by a day, to and fro: every lease is of tomorrow, or of yesterday."""
    jump = chaos.rng.choice((-86400, 86400))
    for path in (chaos.store.root / "leases").rglob("*"):
        with contextlib.suppress(OSError):
            os.utime(path, (time.time() + jump,) * 2)


KINDS: tuple[Callable[[Chaos], None], ...] = (kill, stop, full, truncated, clock)


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A small disk of its own; where this user may mount none, a folder."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    yield place
    if mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def of_store(store: Store) -> list[int]:
    """The processes of this machine that name the store."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(store.root).encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_round(number, undisturbed, disk):
    rng = random.Random(number)
    disturb = KINDS[number % len(KINDS)]
    if disturb is full and not os.path.ismount(disk):
        pytest.skip("this user mounts nothing")
    launchers = ["local", "hosts"] if number // len(KINDS) % 2 else ["local"]
    chaos = Chaos(Store(disk / "store"), launchers, rng)
    chaos.begun()
    for _ in range(TIMES):
        time.sleep(rng.uniform(0.1, 1.0))
        disturb(chaos)
    chaos.end()
    store, steps = chaos.store, chaos.steps
    assert fingerprints(steps, store) == undisturbed
    again = {step.key for step in steps if len(chaos.commits.seen[step.key]) != 1}
    # What was damaged is set aside and made once more, with nothing else.
    assert again <= chaos.damaged
    assert all(len(chaos.commits.seen[key]) <= 2 for key in again)
    assert not [problem for _, _, wrong in verify(store) for problem in wrong]
    assert not list((store.root / "partial").iterdir()) and not store.leased() and not store.failures()
    end = time.monotonic() + 10
    while left := of_store(store):
        assert "hosts" in launchers or time.monotonic() < end, "a process was left behind"
        if time.monotonic() > end:  # workers that look for work themselves outlive their runner, for a minute at most
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        time.sleep(0.1)


def test_a_store_that_is_read_only_is_refused_and_filled_later(undisturbed, disk):
    store = Store(disk / "store")
    if not os.path.ismount(disk):
        pytest.skip("this user mounts nothing")
    run(Steps(*grid()[:4]), store, workers=2)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    chaos = Chaos(store, ["local", "hosts"], random.Random(0))
    for runner in chaos.runners.values():
        _, said = runner.communicate(timeout=60)
        assert runner.returncode and f"the store {store.root} can't be written: Read-only file system" in said.decode()
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    chaos.runners = {name: chaos.start(name) for name in chaos.runners}
    chaos.end()
    assert fingerprints(chaos.steps, store) == undisturbed
    assert all(len(seen) == 1 for seen in chaos.commits.seen.values())
