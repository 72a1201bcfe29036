"""Runs on a real Slurm of two nodes: placed on devices, killed, out of time, and every step once."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm_cluster import NODES, Cluster, is_possible, on_node
from steps import Steps, drawing, fingerprint, fingerprints

from harness.core.contents import problems
from harness.core.errors import HarnessError
from harness.core.resources import Resources
from harness.core.store import Store
from harness.planning.plan import Step
from harness.running import slurm
from harness.running.scheduler import run
from harness.running.slurm import Slurm, SlurmOptions

needs_slurm = pytest.mark.skipif(not is_possible(), reason="slurm-wlm is not installed, or this is not root")
CPU, GPU = Resources(memory_gb=0.5), Resources(gpus=1, memory_gb=0.5)


def test_the_signal_before_the_end_comes_early_enough_and_not_too_early():
    assert slurm.margin(Resources(minutes=1)) == 20
    assert slurm.margin(Resources(minutes=10)) == 60
    assert slurm.margin(Resources(minutes=6000)) == 300


def test_without_slurm_it_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HarnessError, match="sbatch, squeue, scancel: not found"):
        Slurm(Store(tmp_path), SlurmOptions())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("slurm"))
    found.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in found.environment.items():
            patch.setenv(name, value)
        yield found
    found.stop()


@pytest.fixture(autouse=True)
def healthy(request) -> None:
    """Both nodes up and empty before a test of the cluster."""
    if "cluster" in request.fixturenames:
        cluster = request.getfixturevalue("cluster")
        for node in NODES:
            if node not in cluster.processes:
                cluster.start_node(node)
        cluster._wait(lambda: set(cluster.states().values()) == {"idle"}, seconds=120)


def launch(store: Store, **options) -> Slurm:
    return Slurm(store, SlurmOptions(**options))


def placed(store: Store, steps: list[Step]) -> list[tuple[str, str]]:
    """Node and device of each step, as its manifest has them."""
    jobs = [store.manifest(step.kind, step.key)["job"] for step in steps]
    assert {job["launcher"] for job in jobs} == {"slurm"}
    return [(job["host"], job["device"]) for job in jobs]


def wait_for(condition: Callable[[], bool], seconds: float) -> float:
    """Seconds until the condition holds."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "waited too long"
        time.sleep(0.2)
    return time.monotonic() - start


@contextlib.contextmanager
def meanwhile(do: Callable[[], None]) -> Iterator[None]:
    """Do something beside a run; what goes wrong there is raised here."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            do()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()
    if errors:
        raise errors[0]


def holders(store: Store) -> dict[str, str]:
    """The keys of the steps that are at work, with the nodes."""
    records = {key: store.tenure(kind, key).record for kind, key in store.leased()}
    return {key: record.host for key, record in records.items() if record is not None and record.held}


@pytest.mark.slow
@needs_slurm
def test_gpu_steps_land_on_distinct_devices_and_cpu_steps_see_none(cluster, tmp_path):
    store = Store(tmp_path / "store")
    four = [drawing(100, seed) for seed in range(4)]
    assert len(run(Steps(*four), store, launcher=launch(store), resources={"dataset": GPU}).made) == 4
    assert len(set(placed(store, four))) == 4
    assert {device for _, device in placed(store, four)} == {"cuda 0", "cuda 1"}
    two = [drawing(2, seed) for seed in range(10, 12)]
    run(Steps(*two), store, launcher=launch(store), resources={"dataset": CPU})
    assert {device for _, device in placed(store, two)} == {"cpu"}


@pytest.mark.slow
@needs_slurm
def test_a_node_that_dies_costs_no_step_and_no_step_is_made_twice(cluster, tmp_path):
    roots = [drawing(10, seed) for seed in range(10)]
    steps = [*roots, *(drawing(10, 100 + k, after=[root]) for k, root in enumerate(roots))]
    steps += [drawing(10, 200 + k, after=steps[k : k + 11]) for k in range(10)]
    undisturbed, store = Store(tmp_path / "undisturbed"), Store(tmp_path / "store")
    run(Steps(*steps), undisturbed)
    commits: list[str] = []

    def kill() -> None:
        wait_for(lambda: len(made(store)) >= 5 and NODES[1] in holders(store).values(), 300)
        cluster.kill_node(NODES[1])
        assert wait_for(lambda: not on_node(NODES[1]), 10) < 10

    with meanwhile(kill):
        outcome = run(
            Steps(*steps),
            store,
            launcher=launch(store),
            resources={"dataset": CPU},
            tell=lambda event: commits.append(event.step.key) if event.what == "done" else None,
        )
    assert outcome.failed == {}
    assert len(steps) == 30 and sorted(commits) == sorted(step.key for step in steps)
    assert fingerprints(steps, store) == fingerprints(steps, undisturbed)
    assert not list((store.root / "partial").iterdir()) and not (store.root / "damaged").exists()


def made(store: Store) -> list[Path]:
    return list((store.root / "artifacts").glob("*/*/manifest.json"))


@pytest.mark.slow
@needs_slurm
def test_a_killed_worker_is_noticed_within_30_seconds_without_accounting(cluster, tmp_path):
    store, step = Store(tmp_path / "store"), drawing(300)

    def kill() -> None:
        wait_for(lambda: bool(holders(store)), 120)
        record = store.tenure("dataset", step.key).record
        os.kill(record.pid, signal.SIGKILL)
        wait_for(lambda: (now := store.tenure("dataset", step.key).record) and now.token != record.token, 30)

    with meanwhile(kill):
        assert run(Steps(step), store, launcher=launch(store), resources={"dataset": CPU}).made == [step]


@pytest.mark.slow
@needs_slurm
def test_a_limit_of_a_minute_on_a_longer_step_ends_by_requeue_with_the_same_bytes(cluster, tmp_path):
    frames = 1500
    step, undisturbed, store = drawing(frames), Store(tmp_path / "undisturbed"), Store(tmp_path / "store")
    limited = Resources(memory_gb=0.5, minutes=1)
    tenures: set[str] = set()
    jobs: set[str] = set()

    def watch(event) -> None:
        if (record := store.tenure("dataset", step.key).record) is not None:
            tenures.add(record.token)
            jobs.add(record.job)

    outcome = run(Steps(step), store, launcher=launch(store), resources={"dataset": limited}, tell=watch)
    assert outcome.made == [step] and outcome.failed == {}
    assert len(tenures) > 1 and len(jobs) == 1, "the same job ran again"
    run(Steps(step), undisturbed)
    folder = store.path("dataset", step.key)
    assert fingerprint(folder) == fingerprint(undisturbed.path("dataset", step.key))
    assert problems(folder, store.manifest("dataset", step.key)["contents"]) == []


@pytest.mark.slow
@needs_slurm
def test_the_workers_go_on_without_the_runner_and_the_next_command_finds_them(cluster, tmp_path):
    store, steps = Store(tmp_path / "store"), [drawing(40, seed) for seed in range(6)]
    program = (
        "import sys; sys.path.insert(0, sys.argv[2]); from test_slurm import *\n"
        "store = Store(Path(sys.argv[1])); steps = [drawing(40, seed) for seed in range(6)]\n"
        "run(Steps(*steps), store, launcher=launch(store, workers=2), resources={'dataset': CPU})"
    )
    runner = subprocess.Popen([sys.executable, "-c", program, str(store.root), str(Path(__file__).parent)])
    wait_for(lambda: len(holders(store)) == 2, 120)
    runner.kill()
    runner.wait()
    count = len(made(store))
    wait_for(lambda: len(made(store)) > count + 1, 120)
    jobs = {record.job for kind, key in store.leased() if (record := store.tenure(kind, key).record)}
    outcome = run(Steps(*steps), store, launcher=launch(store, workers=2), resources={"dataset": CPU})
    assert outcome.failed == {}
    assert {store.manifest(step.kind, step.key)["job"]["id"].partition("_")[0] for step in steps} == {
        job.partition("_")[0] for job in jobs
    }, "no second array was submitted"


@pytest.mark.slow
@needs_slurm
def test_the_page_on_slurm_is_followed_as_it_is_printed(cluster, tmp_path):
    from test_docs import DOCS, Reader

    Reader(tmp_path, patient=True).follow(DOCS / "how-to" / "slurm.md")
