"""The status says where a run stands. It reads the store alone, from any machine that sees it, whoever runs the
steps."""

import contextlib
import os
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from harness.core.config import Strict
from harness.core.leases import LeaseRecord
from harness.core.store import Store
from harness.planning.plan import Plan, Step
from harness.planning.versions import OtherVersion, other_versions
from harness.running.graph import Graph


class StageCount(Strict):
    """Steps of one stage. `blocked`: a step that they need failed."""

    done: int = 0
    running: int = 0
    waiting: int = 0
    failed: int = 0
    blocked: int = 0


class RunningStep(Strict):
    """A step that a worker holds."""

    kind: str
    key: str
    label: str
    host: str
    device: str
    launcher: str
    job: str
    done: int
    total: int
    note: str
    seconds: float
    """How long this worker has it."""
    beat_age: float | None
    """Seconds since its last beat, by the clock of the file system; None where that cannot be asked."""
    eta: float | None
    """Seconds that are left when it goes on as fast."""


class FailedStep(Strict):
    """A step that failed."""

    kind: str
    key: str
    label: str
    failure: str
    message: str
    log: str


class Status(Strict):
    """This says where a run stands."""

    version: int = 1
    suite: str
    profile: str
    store: str
    stages: dict[str, StageCount]
    running: list[RunningStep]
    failed: list[FailedStep]
    other_versions: list[OtherVersion] = []
    """Missing steps that other code has made: not comparable."""


def status(plan: Plan, store: Store) -> Status:
    """Return where `plan` stands in `store`."""
    steps, missing = plan.steps(), plan.missing(store)
    held = _held(missing, store)
    failed = [_failure(missing[key], store) for _, key in store.failures() if key in missing and key not in held]
    graph = Graph({key: [needed.key for needed in step.inputs.values()] for key, step in missing.items()})
    blocked = {key for step in failed for key in graph.fail(step.key)}
    states = dict.fromkeys(missing, "waiting") | dict.fromkeys(blocked, "blocked") | dict.fromkeys(held, "running")
    states |= {step.key: "failed" for step in failed}
    counts: dict[str, Counter[str]] = {}
    for key, step in steps.items():
        counts.setdefault(step.kind, Counter())[states.get(key, "done")] += 1
    now = _file_system_time(store)
    return Status(
        suite=plan.name,
        profile=plan.profile_name,
        store=str(store.root),
        stages={kind: StageCount(**found) for kind, found in counts.items()},
        running=[_running(missing[key], path, record, now) for key, (path, record) in held.items()],
        failed=failed,
        other_versions=list(other_versions(missing, store).values()),
    )


def _held(steps: Mapping[str, Step], store: Store) -> dict[str, tuple[Path, LeaseRecord]]:
    """Return the steps that somebody holds: file and record of the tenure."""
    found = {}
    for kind, key in store.leased():
        if key in steps:
            tenure = store.tenure(kind, key)
            if tenure.record is not None and tenure.record.held:
                found[key] = store.tenure_file(kind, key, tenure.number), tenure.record
    return found


def _running(step: Step, path: Path, record: LeaseRecord, now: float | None) -> RunningStep:
    made = record.done - record.first
    try:
        age = max(0.0, round(now - path.stat().st_mtime, 1)) if now is not None else None
    except OSError:
        age = None
    left = record.total - record.done
    return RunningStep(
        kind=step.kind,
        key=step.key,
        label=step.label,
        host=record.host,
        device=record.device,
        launcher=record.launcher,
        job=record.job,
        done=record.done,
        total=record.total,
        note=record.note,
        seconds=record.seconds,
        beat_age=age,
        eta=round(record.seconds * left / made, 1) if made > 0 and record.total else None,
    )


def _failure(step: Step, store: Store) -> FailedStep:
    record = store.failure(step.kind, step.key)
    return FailedStep(
        kind=step.kind,
        key=step.key,
        label=step.label,
        failure=record.kind if record else "",
        message=record.message if record else "",
        log=str(store.log(step.kind, step.key)),
    )


def _file_system_time(store: Store) -> float | None:
    """Return what time it is for the file system of the store: that of a file that is written now."""
    probe = store.root / "leases" / f".probe-{uuid.uuid4().hex}"
    try:
        probe.write_bytes(b"")
        return probe.stat().st_mtime
    except OSError:
        return None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(probe)
