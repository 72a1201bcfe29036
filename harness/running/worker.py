"""One step in a process of its own: `python -m harness.running.worker`, started by run.py and by nothing else.

The request is one JSON line on standard input, which then stays open: when it closes, the runner is gone and so is
this process, whatever it was doing. Progress, the result or the failure go to standard output as JSON lines. A
process per step gives the GPU and the memory back, survives a crash of its neighbours, and lets each use one thread.
"""

import json
import os
import resource
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from harness.core import files
from harness.core.errors import HarnessError
from harness.stages import STAGES


def main() -> None:
    """Run the requested step; the exit code is 0 whenever the outcome could be told on standard output."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_leave_with_the_runner, daemon=True).start()
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is not a message to the runner

    def tell(message: dict[str, Any]) -> None:
        output.write(json.dumps(message) + "\n")
        output.flush()

    def report(done: int, total: int, note: str = "") -> None:
        tell({"done": done, "total": total, "note": note})

    try:
        tell({"facts": _run(request, report), "peak_memory_bytes": _peak_memory()})
    except HarnessError as error:
        tell({"failure": error.message, "hint": error.hint, "usage": True, "traceback": ""})
    except Exception as error:
        # The boundary of the process: whatever a stage raises is this step's recorded failure; the others go on.
        tell(_refused(error, Path(request["out"])) or _failed(error))


def _refused(error: Exception, out: Path) -> dict[str, Any] | None:
    """The record of a disk that takes nothing more, which is no mistake of the stage; None for everything else."""
    if not isinstance(error, OSError) or error.errno not in files.FULL:
        return None
    told = files.refused(Path(error.filename or out), error)
    return {"failure": told.message, "hint": told.hint, "usage": True, "traceback": ""}


def _failed(error: Exception) -> dict[str, Any]:
    traceback.print_exc()  # standard error is the step's log, where the runner sends the user
    failure = f"{type(error).__name__}: {error}"
    return {"failure": failure, "hint": "", "usage": False, "traceback": traceback.format_exc()}


def _run(request: dict[str, Any], report: Any) -> dict[str, Any]:
    stage = STAGES[request["kind"]]
    spec = stage.spec.model_validate_json(json.dumps(request["spec"]))
    inputs = {name: Path(path) for name, path in request["inputs"].items()}
    out = Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    facts = stage.code.run(spec, inputs, out, report)
    seconds = round(time.monotonic() - started, 3)
    return {**facts, "wall_s": seconds, **({"gpu_s": seconds} if _used_a_gpu() else {})}


def _used_a_gpu() -> bool:
    """Whether the stage touched a GPU, which is then taken for as long as this process runs."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def _peak_memory() -> int:
    """The largest resident set of this process so far, in bytes (Linux counts in KiB)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _leave_with_the_runner() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
