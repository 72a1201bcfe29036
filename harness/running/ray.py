"""The Ray launcher submits one task per step; Ray places it on a machine of an existing cluster or of one started here.

A task starts a worker process and ends with it; Ray never tries it again, the runner does. All machines see the store
at the same path.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Collection, Sequence
from typing import Any

from harness.core.config import Strict
from harness.core.errors import HarnessError
from harness.core.store import Store
from harness.running.launcher import Ended, Job


class RayOptions(Strict):
    """This says which cluster is used: [launcher.ray] of the user's file."""

    address: str | None = None
    """Of a running cluster: "auto", or host:port. Without one, the one that this machine is part of, else a new one."""


class Ray:
    """Runs each job as a task of Ray."""

    name = "ray"

    def __init__(self, store: Store, options: RayOptions, *, workers: int | None = None) -> None:
        try:
            import ray
        except ImportError:
            raise HarnessError("ray is not installed", hint="pip install 'harness[ray]'") from None
        self.store, self.ray = store, ray
        self.limit = workers
        self.mine = not ray.is_initialized()
        if self.mine:
            _connect(options.address)
        self.task = ray.remote(max_retries=0, num_cpus=0)(_work)
        self.running: dict[Any, str] = {}
        self.waiting: list[Job] = []
        self.number = 0

    def start(self, jobs: Sequence[Job]) -> None:
        """Submit the jobs; Ray keeps those that find no place."""
        self.waiting.extend(jobs)
        while self.waiting and (self.limit is None or len(self.running) < self.limit):
            job = self.waiting.pop(0)
            self.number += 1
            needs = job.resources
            options = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "memory": int(needs.memory_gb * 2**30)}
            task = self.task.options(**options, name=f"harness {job.kind} {job.id}")
            self.running[task.remote(self.number, job.given, str(self.store.root), needs.cpus)] = job.id

    def poll(self, seconds: float) -> list[Ended]:
        """Return what ended: a task that raised lost its machine, or its worker."""
        if not self.running:
            return []
        done, _ = self.ray.wait(list(self.running), num_returns=1, timeout=seconds)
        rest, _ = self.ray.wait(list(self.running), num_returns=len(self.running), timeout=0)
        ended = []
        for reference in {*done, *rest}:
            job = self.running.pop(reference)
            try:
                code, detail = self.ray.get(reference), ""
            except self.ray.exceptions.RayError as error:
                code, detail = 1, str(error).splitlines()[0]
            ended.append(Ended(job, "lost" if code else "exited", detail))
        self.start(())
        return ended

    def cancel(self, ids: Collection[str]) -> None:
        """Drop waiting jobs and kill running ones; a task that waits for its worker hears nothing softer."""
        self.waiting = [job for job in self.waiting if job.id not in ids]
        for reference, job in self.running.items():
            if job in ids:
                self.ray.cancel(reference, force=True)

    def close(self) -> None:
        """End everything that runs."""
        self.waiting.clear()
        self.cancel(list(self.running.values()))
        if self.mine:
            self.ray.shutdown()


def _connect(address: str | None) -> None:
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "include_dashboard": False, "logging_level": "ERROR"}
    try:
        ray.init(address=address or "auto", **options)
    except ConnectionError as error:
        if address:
            raise HarnessError(f"no cluster of Ray answers at {address!r}: {error}") from None
        ray.init(address="local", **options)


def _work(number: int, given: str, store: str, cpus: int) -> int:
    """Runs in Ray's process on the machine that Ray chose: a worker for one step, which ends with this process."""
    import ray

    from harness.running.orders import Order
    from harness.running.worker import stage_variables

    context = ray.get_runtime_context()
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "") if ray.get_gpu_ids() else ""
    order = Order(
        number=number,
        given=given,
        store=store,
        launcher="ray",
        job=context.get_task_id() or "",
        device=f"cuda {gpus}" if gpus else "cpu",
        variables=stage_variables(cpus, gpus),
        node=f"{socket.gethostname()}/{context.get_node_id()[:8]}",
    )
    command = [sys.executable, "-P", "-m", "harness", "worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.write(json.dumps(order._asdict()).encode() + b"\n")
        worker.stdin.flush()  # it stays open: its end tells the worker that this process is gone
        answer = worker.stdout.readline()
        worker.stdin.close()
    return 0 if answer else 1
