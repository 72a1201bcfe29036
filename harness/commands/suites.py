"""The commands list, plan, run and report work on suites."""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.arguments import FORMATS, add_json, add_suite, console, count, planned, print_json
from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from harness.core.failures import Failure
    from harness.core.resources import Resources
    from harness.core.store import Store
    from harness.planning.plan import Plan, Step
    from harness.planning.versions import OtherVersion
    from harness.report.choice import Chosen

WIDE, SHORT = 100, 12
"""Columns of a terminal from which `plan` prints whole keys, and how much of each it prints else."""
DEVICES = ("auto", "cpu", "cuda")
LAUNCHERS = ("local", "slurm", "ray")
MANY = 200
"""Steps above which `plan` counts them instead of listing them."""


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    one = commands.add_parser("list", help="suites, profiles and parts, and which are built")
    add_json(one)
    one.set_defaults(command=_list)

    one = add_suite(commands, "plan", "what `run` would do: steps, what is cached, an estimate")
    one.add_argument("--steps", action="store_true", help=f"list every step, not only up to {MANY}")
    add_json(one)
    one.set_defaults(command=_plan)

    one = add_suite(commands, "run", "make what is missing, then print the table")
    one.add_argument(
        "--launcher", choices=LAUNCHERS, help="where steps run (default: as harness.toml says, else local)"
    )
    one.add_argument("--workers", type=count, help="steps at a time (default: one per GPU, else one per core)")
    one.add_argument(
        "--devices", type=count, help="GPUs that share each training (default: as the profile says, else 1)"
    )
    one.add_argument(
        "--device", choices=DEVICES, default="auto", help="auto: a GPU where there is one; cpu: none is used"
    )
    one.add_argument("--detach", action="store_true", help="of slurm: start the workers and leave them alone")
    one.add_argument("--retry-failed", action="store_true", help="try again also what the stage itself failed at")
    one.set_defaults(command=_run_suite)

    one = add_suite(commands, "report", "the table of what stands in the store")
    one.add_argument("--format", choices=FORMATS, default="console", help="html is the whole report, one file")
    one.add_argument("--output", metavar="FILE", help="write there instead of standard output")
    one.add_argument(
        "--table",
        choices=("results", "classes", "cost", "reproduction"),
        default="results",
        help="the suite's own (default), AP per class with instance counts, cost, or beside the paper",
    )
    one.add_argument("--sort", metavar="COLUMN", help="measured rows by a column, the best first")
    one.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="TEST",
        help="COLUMN=TEXT, COLUMN>NUMBER or COLUMN<NUMBER; repeatable",
    )
    one.add_argument("--intervals", action="store_true", help="print 95 %% intervals behind the scores")
    one.set_defaults(command=_report)


def _list(options: argparse.Namespace) -> int:
    from harness.commands.tables import print_columns
    from harness.planning.listing import entries

    found, out = list(entries()), console()
    if options.json:
        print_json([entry._asdict() for entry in found])
        return 0
    columns = {
        "kind": [entry.kind for entry in found],
        "name": [entry.name for entry in found],
        "label": [entry.label for entry in found],
        "state": [entry.state.partition(": ")[0] for entry in found],
    }
    print_columns(out, columns, fold=("label", "state"), spare=("label",))
    for entry in found:
        if ": " in entry.state:  # with what remedies it, which is copied from one line
            out.print(f"{entry.name}: {entry.state}", soft_wrap=True)
    return 0


def _plan(options: argparse.Namespace) -> int:
    from harness.planning.demands import demands, missing_checkpoints, of_missing, refuse, sentences
    from harness.planning.versions import other_versions, summary

    plan, store = planned(options)
    refuse(plan, store)
    steps, missing, begun = plan.steps(), plan.missing(store), store.half_done()
    minutes = {key: _minutes(plan, store, step, begun) for key, step in missing.items()}
    others = other_versions(missing, store)
    if options.json:
        print_json(_as_values(plan, store, missing, begun, others))
        return 0
    out = console()
    out.print(f"{plan.suite.title}\n{plan.suite.question}\n", soft_wrap=True)
    listed = options.steps or len(steps) <= MANY
    effects = _smallest_effects(plan)
    if listed:
        _print_steps(out, steps, begun, minutes, effects)
    else:
        _print_kinds(out, steps, begun, minutes)
    for row in plan.rows:
        if row.why:
            out.print(f"not built: {row.arm.name}: {row.why}")
    for generator, stock in {row.arm.generator: row.stock for row in plan.rows if row.stock}.items():
        out.print(f"{generator}: {stock}", soft_wrap=True)
    known = [one for one in minutes.values() if one is not None]
    estimate = f"about {sum(known):.0f} core-minutes" if len(known) == len(minutes) else "no estimate for this profile"
    done = len(steps) - len(missing)
    out.print(f"\n{len(missing)} steps to do ({estimate if missing else 'nothing'}), {done} there already")
    for line in summary(others.values()):
        out.print(line, soft_wrap=True, markup=False, highlight=False)
    if not listed:
        out.print("--steps lists every step")
    takes_days = None in minutes.values()
    told = sentences(demands(plan, store), store) if takes_days else of_missing(missing_checkpoints(plan, store))
    for line in told:
        out.print(line, soft_wrap=True, markup=False, highlight=False)
    out.print(f"store: {store.root}", soft_wrap=True)
    return 0


def _as_values(
    plan: "Plan",
    store: "Store",
    missing: "Collection[str]",
    begun: "Collection[str]",
    others: "Mapping[str, OtherVersion]",
) -> "dict[str, Any]":
    """Return a plan for scripts: its rows with the keys of their last steps, and every step, inputs first."""
    return {
        "suite": plan.name,
        "profile": plan.profile_name,
        "store": str(store.root),
        "reports": str(store.root.parent / "reports" / plan.folder),
        "rows": [
            {
                "name": row.arm.name,
                "method": row.arm.method,
                "generator": row.arm.generator,
                "segmenter": row.arm.segmenter,
                "backbone": row.arm.backbone,
                "settings": row.settings,
                "not_built": row.why,
                "seeds": {str(seed): final.key for seed, final in row.finals.items()},
            }
            for row in plan.rows
        ],
        "steps": [
            {
                "kind": step.kind,
                "label": step.label,
                "key": step.key,
                "inputs": {name: needed.key for name, needed in step.inputs.items()},
                "state": _state(step, missing, begun),
                "other_version": others[step.key].model_dump(mode="json") if step.key in others else None,
                "minutes": None if step.external else plan.profile.estimate(step.kind),
            }
            for step in plan.steps().values()
        ],
    }


def _state(step: "Step", missing: "Collection[str]", begun: "Collection[str]") -> str:
    if step.key in missing:
        return "half done" if step.key in begun else "to do"
    return "found" if step.external else "cached"


def _minutes(plan: "Plan", store: "Store", step: "Step", begun: "Collection[str]") -> float | None:
    """Core-minutes that are left of a step; of one that is half done, the part that its last worker had not reached."""
    whole = plan.profile.estimate(step.kind)
    if whole is None or step.key not in begun:
        return whole
    record = store.tenure(step.kind, step.key).record
    return whole * (1 - min(record.done / record.total, 1.0)) if record is not None and record.total else whole


def _print_steps(
    out: Any,
    steps: "Mapping[str, Step]",
    begun: "Collection[str]",
    minutes: "Mapping[str, float | None]",
    effects: "Mapping[str, str]",
) -> None:
    """Every step; `minutes` of those to be made, `effects`: what the row shows that ends with it, both by key."""
    from harness.commands.tables import print_columns

    def estimate(step: "Step") -> str:
        if step.key not in minutes:
            return ""
        return "?" if (each := minutes[step.key]) is None else f"{each:.2f}"

    listed = list(steps.values())
    columns = {
        "step": [step.kind for step in listed],
        "of": [step.label for step in listed],
        "key": [step.key if out.width >= WIDE else step.key[:SHORT] for step in listed],
        "state": [_state(step, minutes, begun) for step in listed],
        "minutes": [estimate(step) for step in listed],
        "finds": [effects.get(step.key, "") for step in listed],
    }
    print_columns(out, columns, fold=("of",), spare=("key", "finds"))


def _smallest_effects(plan: "Plan") -> dict[str, str]:
    """By the key of a row's last step, the smallest difference to another row that is found with 80 % chance."""
    from harness.report.self_test import points
    from harness.results.projection import accepted_spreads, as_planned, known_spreads, networks

    rows = networks(plan)
    effects: dict[str, str] = {}
    for network, spread in known_spreads(plan, accepted_spreads(plan)).items():
        text = points(spread.metric, as_planned(plan, spread).detectable)
        effects |= {final.key: text for row in rows[network] for final in row.finals.values()}
    return effects


def _print_kinds(
    out: Any,
    steps: "Mapping[str, Step]",
    begun: "Collection[str]",
    minutes: "Mapping[str, float | None]",
) -> None:
    from harness.commands.tables import print_columns

    columns: dict[str, list[str]] = {name: [] for name in ("step", "to do", "half done", "there already", "minutes")}
    for kind in dict.fromkeys(step.kind for step in steps.values()):
        keys = [step.key for step in steps.values() if step.kind == kind]
        todo = [key for key in keys if key in minutes]
        half = sum(key in begun for key in todo)
        known = [each for key in todo if (each := minutes[key]) is not None]
        estimate = f"{sum(known):.0f}" if len(known) == len(todo) else "?"
        row = (kind, str(len(todo) - half), str(half), str(len(keys) - len(todo)), estimate)
        for cells, cell in zip(columns.values(), row, strict=True):
            cells.append(cell)
    print_columns(out, columns)


def _run_suite(options: argparse.Namespace) -> int:
    from harness.core import upkeep
    from harness.core.failures import FROM_OUTSIDE, TRIED_AGAIN
    from harness.planning.demands import missing_checkpoints, of_missing, refuse
    from harness.report.written import write_reports
    from harness.running.scheduler import heal

    plan, store = planned(options)
    out = console(stderr=True)
    heal(plan, store, lambda event: out.print(f"set aside  {event.note}", markup=False, soft_wrap=True))
    refuse(plan, store)
    missing = plan.missing(store)
    failed: dict[str, Failure] = {}
    if missing:
        store.open()
        upkeep.remember(store, plan.folder, upkeep.RecordedRun(options.suite, plan.profile_name, tuple(plan.steps())))
        out.print(
            f"{plan.suite.title}: {len(missing)} steps to do, profile {plan.profile_name}, store {store.root}",
            soft_wrap=True,
        )
        for line in of_missing(missing_checkpoints(plan, store)):
            out.print(line, soft_wrap=True, markup=False, highlight=False)
        failed = _make(plan, store, options)
        if options.detach:
            out.print("the workers go on: `harness status` looks at them; the same command without --detach waits")
            return 0
    try:
        written = f"written to {write_reports(plan, store)}"
    except HarnessError as error:
        if not failed:
            raise
        written = f"no report: {error.message}"  # the steps failed first, perhaps of the same full disk
    _print_table(plan, store)
    out.print(written, markup=False, soft_wrap=True)
    for hint in dict.fromkeys(record.hint for record in failed.values() if record.hint):
        out.print(f"  {hint}", markup=False, soft_wrap=True)
    if not failed:
        return 0
    again = "the same command tries them again"
    if not all(record.kind in TRIED_AGAIN for record in failed.values()):
        again += ", those whose stage failed with --retry-failed"
    out.print(f"{len(failed)} steps did not end; {again}. Logs: {store.root / 'logs'}", markup=False, soft_wrap=True)
    return 2 if all(record.kind in FROM_OUTSIDE for record in failed.values()) else 1


def _make(plan: "Plan", store: "Store", options: argparse.Namespace) -> "dict[str, Failure]":
    """Make what is missing, where the launcher says; the failures."""
    from harness.commands.progress_bars import RunView
    from harness.core import environment
    from harness.running.forecast import Forecast
    from harness.running.scheduler import run, submit
    from harness.running.settings import launcher_of
    from harness.stages import STAGES

    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = (
            ""  # of this machine: its cores are then shared out as where there is no GPU
        )
    needs = _needs(plan, options.device)
    devices = options.devices or (max(1, needs["train"].gpus) if environment.gpus() else 1)
    launcher = launcher_of(options.launcher, store, workers=options.workers, devices=devices)
    if options.device == "cuda" and launcher.name == "local" and not environment.gpus():
        raise HarnessError("--device cuda: this machine has no GPU that may be used", hint="`nvidia-smi -L` lists them")
    if launcher.name != "local":
        devices = options.devices or max(1, needs["train"].gpus)
        needs["train"] = needs["train"].model_copy(update={"gpus": devices if devices > 1 else needs["train"].gpus})
    if options.detach:
        submit(plan, store, launcher, devices=devices, resources=needs, retry_failed=options.retry_failed)
        return {}
    steps = plan.missing(store)
    minutes = {kind: plan.profile.estimate(kind) for kind in STAGES}
    with RunView(console(stderr=True), Forecast(steps, minutes)) as view:
        asked = run(
            plan,
            store,
            launcher=launcher,
            devices=devices,
            resources=needs,
            retry_failed=options.retry_failed,
            tell=view,
        )
    return asked.failed


def _needs(plan: "Plan", device: str) -> "dict[str, Resources]":
    """Return what steps need of a machine; on a `cpu` none of them gets a GPU."""
    needs = plan.profile.needs()
    return {kind: each.model_copy(update={"gpus": 0}) for kind, each in needs.items()} if device == "cpu" else needs


def _report(options: argparse.Namespace) -> int:
    from harness.core.files import write_text
    from harness.report import render
    from harness.report.choice import Chosen, parse_filter
    from harness.report.written import page, table_of

    plan, store = planned(options)
    if options.intervals:
        table = {**plan.suite.table, "intervals": True}
        plan = replace(plan, suite=plan.suite.model_copy(update={"table": table}))
    chosen = Chosen(sort=options.sort or "", filters=tuple(map(parse_filter, options.filter)))
    if options.format == "console" and not options.output:
        _print_table(plan, store, options.table, chosen)
        return 0
    # The whole report, which has every table; a single one as HTML is a fragment of it.
    whole = options.format == "html" and options.table == "results" and not (options.sort or options.filter)
    intervals = options.format in ("csv", "json", "html")
    text = (
        page(plan, store)
        if whole
        else render(chosen.of(table_of(plan, store, options.table, intervals=intervals)), options.format)
    )
    if options.output:
        write_text(Path(options.output), text)
    else:
        print(text, end="" if text.endswith("\n") else "\n")
    return 0


def _print_table(plan: "Plan", store: "Store", name: str = "results", chosen: "Chosen | None" = None) -> None:
    from harness.report import print_table
    from harness.report.written import table_of

    table = table_of(plan, store, name)
    print_table(chosen.of(table) if chosen else table, console())
