"""A stage computes in a process of its own: a worker forks it for one try of one step, and it ends with the try.

It gives memory and GPU back when it ends, and its crash leaves the worker standing, which tells what happened. The
worker forks before any thread or GPU context exists, so that nothing unsafe is inherited.
"""

import ctypes
import io
import json
import logging
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from harness.core import contents, files, shortage
from harness.core.errors import HarnessError
from harness.core.failures import Failure, Kind
from harness.core.progress import Report, Stopped
from harness.core.streams import Messages
from harness.stages import STAGES, open_inputs

_PR_SET_PDEATHSIG = 1


class Work(NamedTuple):
    """This holds the work of a stage process. `variables`: its environment, laid over that of the worker."""

    kind: str
    spec: dict[str, Any]
    inputs: dict[str, str]
    dataset: dict[str, Any] | None
    out: Path
    log: Path
    variables: dict[str, str]


class Started(NamedTuple):
    """A running stage process; `channel` gives its messages, JSON lines."""

    pid: int
    channel: int


def start(work: Work) -> Started:
    """Fork the process; it leads a process group of its own."""
    reading, writing = os.pipe()
    worker = os.getpid()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Started(pid, reading)
    try:
        os.close(reading)
        _prepare(work, worker)
        _do(work, writing)
    finally:
        os._exit(1)  # whatever happens, this process never goes on with the worker's code


def _prepare(work: Work, worker: int) -> None:
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(name, signal.SIG_DFL)
    _end_with(worker)
    null = os.open(os.devnull, os.O_RDWR)
    try:
        log = os.open(work.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError:  # the disk is full: the work itself will wait for room
        log = null
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    sys.stdout, sys.stderr = (
        Messages(io.FileIO(descriptor, "w", closefd=False), write_through=True) for descriptor in (1, 2)
    )
    os.environ.update(work.variables)


def _end_with(worker: int) -> None:
    """Have the kernel end this process when the worker dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker:
        os._exit(1)


def _do(work: Work, channel: int) -> NoReturn:
    asked = False

    def stop(*_: Any) -> None:
        nonlocal asked
        asked = True

    def tell(message: dict[str, Any]) -> None:
        files.write_all(channel, json.dumps(message).encode() + b"\n")

    def report(done: int, total: int, note: str = "") -> None:
        tell({"done": done, "total": total, "note": note})
        if asked:
            raise Stopped

    signal.signal(signal.SIGTERM, stop)
    try:
        tell({"result": _run(work, report)})
    except Stopped:
        tell({"stopped": True})
    except Exception as error:  # the boundary of the process: whatever a stage raises becomes a record
        tell(_failure(error, work))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class _Said(logging.Handler):
    """Writes what the stage logs to its log, and keeps the warnings."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take one message."""
        text = record.getMessage()
        print(text, file=sys.stderr, flush=True)
        if record.levelno >= logging.WARNING:
            self.warnings.append(text)


def _run(work: Work, report: Report) -> dict[str, Any]:
    said = _Said()
    logger = logging.getLogger("harness")
    logger.addHandler(said)
    logger.setLevel(logging.INFO)
    _use_threads(work.variables)
    stage = STAGES[work.kind]
    spec = stage.spec.model_validate_json(json.dumps(work.spec))
    for folder in map(Path, work.inputs.values()):
        contents.refuse_damaged(folder)
    inputs = open_inputs(work.inputs, work.dataset)
    started = time.monotonic()
    facts = stage.code.run(spec, inputs, work.out, report)
    seconds = round(time.monotonic() - started, 3)
    facts = {**facts, "wall_s": seconds, **({"gpu_s": seconds} if _used_a_gpu() else {})}
    warnings = {"warnings": said.warnings} if said.warnings else {}
    return {"facts": facts, "peak_memory_bytes": _peak_memory(), "contents": contents.seal(work.out), **warnings}


def _failure(error: Exception, work: Work) -> dict[str, Any]:
    """Return the record of what a stage raised, and the errno where the disk refused."""
    if isinstance(error, OSError) and error.errno in files.FULL:
        error = files.refused(Path(error.filename or work.out), error)
    if isinstance(error, HarnessError):
        kind: Kind = "disk" if isinstance(error, files.DiskError) and error.of_disk else "usage"
        kind = "memory" if isinstance(error, shortage.TooLargeError) else kind
        failure = Failure(kind=kind, message=error.message, hint=error.hint)
        if isinstance(error, contents.DamagedError):
            name = "/".join(error.folder.parts[-2:])
            failure = failure.model_copy(update={"kind": "damaged", "damaged": name})
        return {"failure": failure.model_dump(mode="json"), "errno": getattr(error, "number", None)}
    traceback.print_exc()  # standard error is the step's log
    kind = "memory" if shortage.ran_out(error) else "error"
    message = f"{type(error).__name__}: {error}"
    failure = Failure(kind=kind, message=message, traceback=traceback.format_exc())
    return {"failure": failure.model_dump(mode="json")}


def _use_threads(variables: dict[str, str]) -> None:
    """A torch that was imported before the fork has read another number of threads."""
    if (torch := sys.modules.get("torch")) is not None and "OMP_NUM_THREADS" in variables:
        torch.set_num_threads(int(variables["OMP_NUM_THREADS"]))


def _used_a_gpu() -> bool:
    """Return whether the stage touched a GPU, which is then taken for as long as this process runs."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def _peak_memory() -> int:
    """The largest resident set of this process so far, in bytes (Linux counts in KiB)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
