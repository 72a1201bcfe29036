"""Makes the artifacts of a plan that are missing: independent steps side by side, each in a process of its own.

Same command again = resume: whole artifacts are left alone, half-made ones go on where they stopped. A step that
fails is recorded and everything that does not need it still runs. Nothing here knows what a step does.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from harness.core import environment
from harness.core.errors import HarnessError
from harness.core.store import Store
from harness.planning.plan import Plan, Step

ON_GPU = ("synthesize", "train", "predict", "assess")
KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""For glibc: a network frees and takes the same buffers at each step; giving them back costs 7 ms of 104 a step of the
tiny OneFormer."""


class Event(NamedTuple):
    """What happened to a step: "start", "progress", "done" or "failed"."""

    step: Step
    what: str
    done: int = 0
    total: int = 0
    note: str = ""


@dataclass(kw_only=True)
class Outcome:
    """What a run did: steps made now, and steps that failed with their records."""

    made: list[Step] = field(default_factory=list)
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)


def run(
    plan: Plan,
    store: Store,
    *,
    workers: int | None = None,
    devices: int = 1,
    tell: Callable[[Event], None] = lambda event: None,
) -> Outcome:
    """Make what is missing of `plan`.

    `workers`: steps at a time; default one per GPU, without a GPU one per core, each with one thread (small models lose
    speed with more). `devices`: GPUs (without any: processes) that share each training. `tell` hears every event, from
    one thread at a time. Returns what was made and what failed; HarnessError, before anything is made, for devices that
    are not there or cannot share a batch.
    """
    store.open()
    gpus = _groups(environment.gpus(), devices)
    slots: SimpleQueue[str | None] = SimpleQueue()
    for slot in range(workers or len(gpus) or environment.cores()):
        slots.put(gpus[slot % len(gpus)] if gpus else None)
    count = slots.qsize()
    # Without a GPU the models are small: a second thread waits more than it works as soon as anything else runs.
    threads = max(1, environment.cores() // count) if gpus else 1

    outcome, running = Outcome(), 0
    waiting = {key: _on(step, devices) for key, step in plan.missing(store).items()}
    finished: SimpleQueue[tuple[Step, str | None, dict[str, Any]]] = SimpleQueue()
    speaking = threading.Lock()

    def say(event: Event) -> None:
        with speaking:
            tell(event)

    def work(step: Step, slot: str | None) -> None:
        record: dict[str, Any] = {"failure": "the runner stopped", "hint": "", "usage": False, "traceback": ""}
        try:
            record = _make(step, store, slot, threads, say)
        except (HarnessError, OSError) as error:  # the store refuses: told like the failure of a step
            record = {"failure": str(error), "hint": "", "usage": True, "traceback": ""}
        finally:
            finished.put((step, slot, record))

    while waiting or running:
        for step in list(waiting.values()):  # in the order of the plan, inputs first, so that one pass is enough
            if any(i.key in outcome.failed for i in step.inputs.values()):
                del waiting[step.key]
                outcome.failed[step.key] = {
                    "failure": "an input of it failed",
                    "hint": "",
                    "usage": False,
                    "traceback": "",
                }
        ready = [s for s in waiting.values() if all(i.external or store.has(i.kind, i.key) for i in s.inputs.values())]
        while ready and not slots.empty():
            step = ready.pop(0)
            del waiting[step.key]
            running += 1
            say(Event(step, "start"))
            threading.Thread(target=work, args=(step, slots.get()), daemon=True).start()
        if not running:
            assert not waiting, f"nothing can run, yet {sorted(waiting)} wait"
            break
        step, slot, record = finished.get()
        running -= 1
        slots.put(slot)
        if record.get("failure"):
            with contextlib.suppress(HarnessError):  # a full disk may refuse this too; the caller hears of it below
                store.fail(step.kind, step.key, {"label": step.label, **record})
            outcome.failed[step.key] = record
            say(Event(step, "failed", note=record["failure"]))
        else:
            outcome.made.append(step)
            say(Event(step, "done"))
    return outcome


def _groups(gpus: list[str], size: int) -> list[str]:
    """The GPUs in groups of `size`, each as CUDA_VISIBLE_DEVICES wants it; a rest that fills no group stays idle."""
    if gpus and len(gpus) < size:
        raise HarnessError(f"{size} devices for a training: this machine has {len(gpus)} GPUs")
    return [",".join(gpus[first : first + size]) for first in range(0, len(gpus) - size + 1, size)]


def _on(step: Step, devices: int) -> Step:
    """The same step, and the same key, on so many devices; only a training can use more than one."""
    if devices == 1 or step.kind != "train":
        return step
    return replace(step, spec=step.spec.on(devices))


def _make(step: Step, store: Store, slot: str | None, threads: int, say: Callable[[Event], None]) -> dict[str, Any]:
    """Run one step to its end; the record of its failure, or {} when the artifact stands."""
    with store.lock(step.kind, step.key):
        if store.has(step.kind, step.key):
            return {}
        started, last = (
            time.time(),
            {"failure": "the process of this step was killed", "hint": "", "usage": False, "traceback": ""},
        )
        log = store.log(step.kind, step.key)
        with open(log, "ab") as errors, _process(step, slot, threads, errors) as process:
            request = {
                "kind": step.kind,
                "spec": step.spec.model_dump(mode="json"),
                "out": str(store.partial(step.kind, step.key)),
            }
            request["inputs"] = {name: str(i.external or store.path(i.kind, i.key)) for name, i in step.inputs.items()}
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
            for line in process.stdout:
                message = json.loads(line)
                if "done" in message:
                    say(Event(step, "progress", message["done"], message["total"], message["note"]))
                else:
                    last = message
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        if "facts" not in last:
            return last if last.get("traceback") else {**last, "traceback": _tail(log)}
        manifest = {
            "version": 1,
            "kind": step.kind,
            "key": step.key,
            "label": step.label,
            "spec": step.spec.model_dump(mode="json"),
            "inputs": {name: {"kind": i.kind, "key": i.key} for name, i in step.inputs.items()},
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            **last,
            "environment": environment.describe(),
        }
        store.commit(step.kind, step.key, manifest)
        return {}


def _process(step: Step, slot: str | None, threads: int, errors: Any) -> subprocess.Popen:
    variables = {
        **KEEP_FREED_MEMORY,
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
    }
    if slot is not None and step.kind in ON_GPU:
        variables["CUDA_VISIBLE_DEVICES"] = slot
    return subprocess.Popen(
        [sys.executable, "-m", "harness.running.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=variables,
    )


def _tail(log: Path, characters: int = 4000) -> str:
    """The end of a log: the last thing a killed process said."""
    return log.read_text(encoding="utf-8", errors="replace")[-characters:]
