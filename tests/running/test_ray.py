"""Runs on a real cluster of Ray with two nodes, one of which dies."""

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
from steps import Steps, drawing, fingerprints

from harness.core.leases import born
from harness.core.resources import Resources
from harness.core.store import Store
from harness.running.ray import Ray, RayOptions
from harness.running.scheduler import run

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
CPU, GPU = Resources(memory_gb=0.25), Resources(gpus=1, memory_gb=0.25)
NODE = {"num_cpus": 2, "num_gpus": 2, "object_store_memory": 80 * 2**20, "memory": 2 * 2**30}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    found.add_node(**NODE)
    ray.init(address=found.address, log_to_driver=False, logging_level="ERROR")
    yield found
    ray.shutdown()
    found.shutdown()


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def holders(store: Store) -> dict[int, str]:
    """The workers that are at work, with their nodes."""
    records = [store.tenure(kind, key).record for kind, key in store.leased()]
    return {record.pid: record.host for record in records if record is not None and record.held}


def launch(store: Store) -> Ray:
    return Ray(store, RayOptions())


def test_gpu_steps_land_on_distinct_devices_and_cpu_steps_see_none(cluster, tmp_path):
    store, four = Store(tmp_path / "store"), [drawing(60, seed) for seed in range(4)]
    assert len(run(Steps(*four), store, launcher=launch(store), resources={"dataset": GPU}).made) == 4
    jobs = [store.manifest(step.kind, step.key)["job"] for step in four]
    assert len({(job["host"], job["device"]) for job in jobs}) == 4
    assert {job["launcher"] for job in jobs} == {"ray"} and all(job["id"] for job in jobs)
    step = drawing(2, 10)
    run(Steps(step), store, launcher=launch(store), resources={"dataset": CPU})
    assert store.manifest(step.kind, step.key)["job"]["device"] == "cpu"


def test_a_node_that_dies_costs_no_step_and_no_step_is_made_twice(cluster, tmp_path):
    roots = [drawing(10, seed) for seed in range(10)]
    steps = [*roots, *(drawing(10, 100 + k, after=[root]) for k, root in enumerate(roots))]
    steps += [drawing(10, 200 + k, after=steps[k : k + 11]) for k in range(10)]
    undisturbed, store = Store(tmp_path / "undisturbed"), Store(tmp_path / "store")
    run(Steps(*steps), undisturbed)
    doomed = cluster.add_node(**NODE)
    name = doomed.node_id[:8]
    commits: list[str] = []
    gone: list[int] = []

    def kill() -> None:
        wait_for(lambda: any(name in host for host in holders(store).values()), 300)
        gone.extend(pid for pid, host in holders(store).items() if name in host)
        cluster.remove_node(doomed, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    outcome = run(
        Steps(*steps),
        store,
        launcher=launch(store),
        resources={"dataset": CPU},
        tell=lambda event: commits.append(event.step.key) if event.what == "done" else None,
    )
    killer.join()
    assert gone and outcome.failed == {}
    assert len(steps) == 30 and sorted(commits) == sorted(step.key for step in steps)
    assert fingerprints(steps, store) == fingerprints(steps, undisturbed)
    assert not list((store.root / "partial").iterdir()) and not (store.root / "damaged").exists()


def test_the_processes_of_a_killed_runner_are_gone_within_ten_seconds(cluster, tmp_path):
    store = Store(tmp_path / "store")
    program = (
        "import sys, ray; sys.path.insert(0, sys.argv[2]); from test_ray import *\n"
        "ray.init(address=sys.argv[3], log_to_driver=False, logging_level='ERROR')\n"
        "store = Store(Path(sys.argv[1]))\n"
        "run(Steps(drawing(2000)), store, launcher=launch(store), resources={'dataset': CPU})"
    )
    command = [sys.executable, "-c", program, str(store.root), str(Path(__file__).parent), cluster.address]
    runner = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(lambda: holders(store), 200)
    (worker,) = holders(store)
    with contextlib.suppress(ProcessLookupError):
        os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    wait_for(lambda: not born(worker), 10)
