"""The commands status and logs show how far a run is and what a step logged, from any process."""

import argparse
import time
from typing import TYPE_CHECKING, Any

from harness.commands.arguments import add_json, add_suite, console, count, planned, print_json

if TYPE_CHECKING:
    from harness.running.status import RunningStep, Status

PAUSE = 5.0
"""Seconds between two looks of --watch."""


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    one = add_suite(commands, "status", "what is done, running, waiting and failed, wherever it runs")
    one.add_argument("--watch", action="store_true", help=f"look every {PAUSE:.0f} s until nothing is left")
    one.add_argument("--json", action="store_true", help="print it as JSON, one line a look")
    one.set_defaults(command=_status)

    one = commands.add_parser("logs", help="what a step said")
    one.add_argument("step", help="its key or the beginning of it, or <kind>-<key>")
    one.add_argument("--store", metavar="DIR", help="where artifacts are (default: HARNESS_STORE or results/store)")
    one.add_argument("--lines", type=count, metavar="N", help="only the last so many lines")
    add_json(one)
    one.set_defaults(command=_logs)


def _status(options: argparse.Namespace) -> int:
    from harness.running.status import status

    plan, store = planned(options)
    out = console()
    while True:
        found = status(plan, store)
        if options.json:
            print(found.model_dump_json(), flush=True)
        else:
            if options.watch and out.is_terminal:
                out.clear()
            _print(found, out)
        left = sum(stage.running + stage.waiting for stage in found.stages.values())
        if not options.watch or not left:
            return 1 if found.failed else 0
        time.sleep(PAUSE)


def _print(found: "Status", out: Any) -> None:
    from harness.commands.tables import print_columns
    from harness.planning.versions import summary

    out.print(f"{found.suite}, profile {found.profile}, store {found.store}", soft_wrap=True)
    names = ("done", "running", "waiting", "failed", "blocked")
    counts = {name: [str(getattr(stage, name)) for stage in found.stages.values()] for name in names}
    print_columns(out, {"stage": list(found.stages), **counts})
    if found.running:
        heads = ("running", "of", "where", "job", "progress", "beat", "left")
        columns = dict(zip(heads, map(list, zip(*map(_cells, found.running), strict=True)), strict=True))
        print_columns(out, columns, fold=("of", "progress"), spare=("job", "where", "beat"))
    for line in summary(found.other_versions):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    for bad in found.failed:
        out.print(f"failed: {bad.kind} {bad.label}: {bad.message}\n  {bad.log}", markup=False, soft_wrap=True)


def _cells(step: "RunningStep") -> list[str]:
    from harness.running.forecast import duration

    progress = f"{step.done} of {step.total}" if step.total else ""
    return [
        step.kind,
        step.label,
        f"{step.host} {step.device}",
        f"{step.launcher} {step.job}",
        f"{progress} {step.note}".strip(),
        "" if step.beat_age is None else f"{step.beat_age:.0f} s ago",
        "" if step.eta is None else duration(step.eta),
    ]


def _key(name: str) -> str:
    return name.partition("-")[2]


def _logs(options: argparse.Namespace) -> int:
    from harness.core.errors import HarnessError, near
    from harness.core.paths import store_root
    from harness.core.store import Store

    store = Store(store_root(options.store))
    folder = store.root / "logs"
    names = {path.stem: path for path in sorted(folder.glob("*-*.log"))}
    wanted = options.step
    found = [path for name, path in names.items() if wanted in (name[: len(wanted)], _key(name)[: len(wanted)])]
    if len(found) != 1:
        hint = near(wanted, names) if not found else "give more of the key: " + ", ".join(p.stem for p in found[:5])
        raise HarnessError(f"{len(found)} logs in {folder} begin with {wanted!r}", hint=hint)
    lines = found[0].read_text(encoding="utf-8", errors="replace").splitlines()
    lines = lines[-options.lines :] if options.lines else lines
    kind, _, key = found[0].stem.partition("-")
    record = store.failure(kind, key)
    if options.json:
        failure = None if record is None else record.model_dump(mode="json")
        print_json({"kind": kind, "key": key, "log": str(found[0]), "lines": lines, "failure": failure})
        return 0
    print("\n".join(lines))
    if record is not None:
        print(f"failed ({record.kind}): {record.message}")
        if record.progress:
            print("at {} of {} {}".format(*record.progress))
    return 0
