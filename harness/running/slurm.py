"""The Slurm launcher submits arrays of workers that look for work themselves, one array per kind of resources.

It calls sbatch, squeue, scancel and scontrol, and needs no accounting. What Slurm says is a hint, the store decides. A
worker that nears its time limit, or is preempted, saves its state, gives its step back and is queued again.
"""

import contextlib
import getpass
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from itertools import groupby

from pydantic import Field

from harness.core.config import Strict
from harness.core.errors import HarnessError
from harness.core.leases import Holder
from harness.core.resources import Resources
from harness.core.store import Store
from harness.running.launcher import Ended, Job

LOOK = 5.0
"""Seconds between two questions to Slurm."""
MARGIN = 20, 300
"""Least and most seconds before the time limit at which a worker is told; a tenth of the limit between them."""


class SlurmOptions(Strict):
    """This says how jobs are submitted; [launcher.slurm] of the user's file."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str = "gpu"
    """What a GPU is called: "gpu", or with its type "gpu:a100"."""
    workers: int = Field(default=16, ge=1)
    """Jobs of one kind of resources at a time."""
    idle_minutes: float = Field(default=10.0, gt=0)
    """How long a worker waits for a step before it leaves."""
    setup: list[str] = []
    """Lines of shell before the worker: modules to load, say."""
    options: list[str] = []
    """More options of sbatch, as on its command line."""


class Slurm:
    """Runs workers as Slurm jobs."""

    name = "slurm"

    def __init__(self, store: Store, options: SlurmOptions, *, workers: int | None = None) -> None:
        if missing := [command for command in ("sbatch", "squeue", "scancel") if not shutil.which(command)]:
            raise HarnessError(f"{', '.join(missing)}: not found", hint="run it where Slurm's commands are installed")
        self.store, self.options = store, options
        self.limit = workers or options.workers
        self.jobs: dict[str, str] = {}
        """Worker to the job of Slurm, as <array>_<task>."""
        self.states: dict[str, str] = {}
        self.asked = float("-inf")

    def attach(self, run: str, resources: Resources) -> list[str]:
        """Workers of an earlier command that are still there."""
        found = _squeue("--name", _job_name(run, resources), "--user", getpass.getuser()) or {}
        self.jobs |= {job: job for job in found}
        return list(found)

    def start(self, jobs: Sequence[Job]) -> None:
        """Submit one array per kind of resources."""
        for _, same in groupby(jobs, key=lambda job: (job.given, job.resources.model_dump_json())):
            group = list(same)
            array = self._submit(group[0], len(group))
            self.jobs |= {job.id: f"{array}_{number}" for number, job in enumerate(group)}

    def poll(self, seconds: float) -> list[Ended]:
        """Return what Slurm no longer has, and what it queued again."""
        time.sleep(seconds)
        if time.monotonic() - self.asked < LOOK or not self.jobs:
            return []
        arrays = {job.partition("_")[0] for job in self.jobs.values()}
        found = _squeue("--jobs", ",".join(sorted(arrays)))
        if found is None:  # Slurm does not answer: it may later
            return []
        self.asked = time.monotonic()
        ended = []
        for worker, job in list(self.jobs.items()):
            before, now = self.states.get(job), found.get(job)
            if now is None:
                del self.jobs[worker]
                ended.append(Ended(worker, "exited", job))
            elif before == "RUNNING" and now in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "NODE_FAIL"):
                ended.append(Ended(worker, "requeued", job))
        self.states = found
        return ended

    def cancel(self, ids: Collection[str]) -> None:
        """Have Slurm end these workers."""
        if jobs := [self.jobs[worker] for worker in ids if worker in self.jobs]:
            _run(["scancel", *jobs])

    def close(self) -> None:
        """End all workers; they have saved their state when they are gone."""
        self.cancel(list(self.jobs))
        self.jobs.clear()

    def _submit(self, job: Job, count: int) -> str:
        """Submit an array of `count` workers; its id."""
        needs, options = job.resources, self.options
        command = ["sbatch", "--parsable", f"--job-name={_job_name(os.path.basename(job.given), needs)}"]
        command += [f"--array=0-{count - 1}", "--requeue", "--open-mode=append"]
        command += [f"--output={self.store.root / 'logs' / 'slurm-%A_%a.log'}"]
        command += [f"--cpus-per-task={needs.cpus}", f"--mem={round(needs.memory_gb * 1024)}M"]
        command += [f"--gres={options.gres}:{needs.gpus}"] if needs.gpus else []
        command += [f"--time={max(1, round(needs.minutes))}"] if needs.minutes else []
        command += [f"--signal=B:USR2@{margin(needs)}"]
        for name in ("partition", "account", "qos", "constraint"):
            command += [f"--{name}={value}"] if (value := getattr(options, name)) else []
        worker = [sys.executable, "-P", "-m", "harness", "worker", "--run", job.given, "--store", str(self.store.root)]
        worker += ["--resources", needs.model_dump_json(), "--idle", str(60 * options.idle_minutes)]
        script = "\n".join(["#!/bin/bash", *options.setup, f"exec {shlex.join(worker)}", ""])
        done = _run([*command, *options.options], script)
        if done.returncode:
            raise HarnessError(
                f"sbatch refuses the job: {done.stderr.strip() or done.stdout.strip()}",
                hint="see [launcher.slurm] of your harness.toml, and [resources] of the profile",
            )
        return done.stdout.strip().partition(";")[0]


def margin(resources: Resources) -> int:
    """Return how many seconds before its end a worker is warned."""
    least, most = MARGIN
    return min(most, max(least, round(6 * resources.minutes))) if resources.minutes else 2 * least


def here() -> Holder | None:
    """Return the holder that a worker in a job of Slurm is; None elsewhere."""
    if (job := os.environ.get("SLURM_JOB_ID")) is None:
        return None
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return Holder(
        launcher="slurm",
        job=f"{array}_{task}" if array else job,
        device=f"cuda {visible}" if visible else "cpu",
        node=os.environ.get("SLURMD_NODENAME", ""),
    )


def requeue() -> None:
    """Have this job queued again; where that is not allowed, the run starts another one."""
    with contextlib.suppress(OSError):
        subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False, timeout=30)


NEAR_THE_END = signal.SIGUSR2
"""The signal that tells a worker that its time is nearly over."""


def _job_name(run: str, resources: Resources) -> str:
    digest = hashlib.sha256(json.dumps(resources.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
    return f"harness-{run.partition('.')[0]}-{digest[:6]}"


def _squeue(*selection: str) -> dict[str, str] | None:
    """Jobs that are not over, with their states; None when Slurm does not answer."""
    done = _run(["squeue", "--noheader", "--array", "--format=%i %T", *selection])
    if done.returncode:
        return {} if "Invalid job id" in done.stderr else None
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())


def _run(command: list[str], text: str = "") -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
