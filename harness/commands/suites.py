"""The commands list, plan, run and report work on suites."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.commands.arguments import FORMATS, add_suite, console, count, planned
from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rich.table import Table

    from harness.core.failures import Failure
    from harness.core.store import Store
    from harness.planning.plan import Plan, Step
    from harness.report.table import Table as ResultTable
    from harness.results.gains import Paired
    from harness.results.paired import Single
    from harness.results.rows import Row, SeedResult

LAUNCHERS = ("local", "slurm", "ray")
MANY = 200
"""Steps above which `plan` counts them instead of listing them."""
QUALITY = "ablation"
"""The suite of image quality, which stands beside the gains in a report."""


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    one = commands.add_parser("list", help="suites, profiles and parts, and which are built")
    one.set_defaults(command=_list)

    one = add_suite(commands, "plan", "what `run` would do: steps, what is cached, an estimate")
    one.add_argument("--steps", action="store_true", help=f"list every step, not only up to {MANY}")
    one.set_defaults(command=_plan)

    one = add_suite(commands, "run", "make what is missing, then print the table")
    one.add_argument(
        "--launcher", choices=LAUNCHERS, help="where steps run (default: as harness.toml says, else local)"
    )
    one.add_argument("--workers", type=count, help="steps at a time (default: one per GPU, else one per core)")
    one.add_argument(
        "--devices", type=count, help="GPUs that share each training (default: as the profile says, else 1)"
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
    one.add_argument("--intervals", action="store_true", help="print 95 %% intervals behind the scores")
    one.set_defaults(command=_report)


def _list(options: argparse.Namespace) -> int:
    from rich.table import Table

    from harness.planning.listing import entries

    table = Table("kind", "name", "label", "state", box=None, pad_edge=False)
    for entry in entries():
        table.add_row(entry.kind, entry.name, entry.label, entry.state)
    console().print(table)
    return 0


def _plan(options: argparse.Namespace) -> int:
    plan, store = planned(options)
    steps, missing, begun = plan.steps(), plan.missing(store), store.half_done()
    minutes = plan.profile.minutes
    out = console()
    out.print(f"{plan.suite.title}\n{plan.suite.question}\n", soft_wrap=True)
    listed = options.steps or len(steps) <= MANY
    effects = _smallest_effects(plan)
    out.print(
        _steps_table(steps, missing, begun, minutes, effects)
        if listed
        else _kinds_table(steps, missing, begun, minutes)
    )
    for row in plan.rows:
        if row.why:
            out.print(f"not built: {row.arm.name}: {row.why}")
    total = sum(minutes.get(step.kind, 0.0) for step in missing.values())
    known = all(step.kind in minutes for step in missing.values())
    estimate = f"about {total:.0f} core-minutes" if known else "no estimate for this profile"
    done = len(steps) - len(missing)
    out.print(f"\n{len(missing)} steps to do ({estimate if missing else 'nothing'}), {done} there already")
    if not listed:
        out.print("--steps lists every step")
    out.print(f"store: {store.root}")
    return 0


def _steps_table(
    steps: "Mapping[str, Step]",
    missing: "Mapping[str, Step]",
    begun: "Collection[str]",
    minutes: "Mapping[str, float]",
    effects: "Mapping[str, str]",
) -> "Table":
    """Every step; `effects`: what the row shows that ends with it, by key."""
    from rich.table import Table

    table = Table("step", "of", "key", "state", "minutes", "finds", box=None, pad_edge=False)
    for step in steps.values():
        state, estimate = "found" if step.external else "cached", ""
        if step.key in missing:
            state = "half done" if step.key in begun else "to do"
            estimate = f"{minutes[step.kind]:.2f}" if step.kind in minutes else "?"
        table.add_row(step.kind, step.label, step.key, state, estimate, effects.get(step.key, ""))
    return table


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


def _kinds_table(
    steps: "Mapping[str, Step]", missing: "Mapping[str, Step]", begun: "Collection[str]", minutes: "Mapping[str, float]"
) -> "Table":
    from rich.table import Table

    table = Table("step", "to do", "half done", "there already", "minutes", box=None, pad_edge=False)
    for kind in dict.fromkeys(step.kind for step in steps.values()):
        keys = [step.key for step in steps.values() if step.kind == kind]
        todo = [key for key in keys if key in missing]
        half = sum(key in begun for key in todo)
        estimate = f"{minutes[kind] * len(todo):.0f}" if kind in minutes else "?"
        table.add_row(kind, str(len(todo) - half), str(half), str(len(keys) - len(todo)), estimate)
    return table


def _run_suite(options: argparse.Namespace) -> int:
    from harness.core import upkeep
    from harness.core.failures import FROM_OUTSIDE, TRIED_AGAIN

    plan, store = planned(options)
    missing = plan.missing(store)
    out = console(stderr=True)
    failed: dict[str, Failure] = {}
    if missing:
        store.open()
        name = f"{plan.name}-{plan.profile_name}"
        upkeep.remember(store, name, upkeep.Run(options.suite, plan.profile_name, tuple(plan.steps())))
        out.print(f"{plan.suite.title}: {len(missing)} steps to do, profile {plan.profile_name}, store {store.root}")
        failed = _make(plan, store, len(missing), options)
        if options.detach:
            out.print("the workers go on: `harness status` looks at them; the same command without --detach waits")
            return 0
    try:
        written = f"written to {_write_reports(plan, store)}"
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


def _make(plan: "Plan", store: "Store", count: int, options: argparse.Namespace) -> "dict[str, Failure]":
    """Make what is missing, where the launcher says; the failures."""
    from harness.commands.progress_bars import RunView
    from harness.core import environment
    from harness.running.scheduler import run, submit
    from harness.running.settings import launcher_of

    needs = plan.profile.needs()
    devices = options.devices or (max(1, needs["train"].gpus) if environment.gpus() else 1)
    launcher = launcher_of(options.launcher, store, workers=options.workers, devices=devices)
    if launcher.name != "local":
        devices = options.devices or max(1, needs["train"].gpus)
        needs["train"] = needs["train"].model_copy(update={"gpus": devices if devices > 1 else needs["train"].gpus})
    if options.detach:
        submit(plan, store, launcher, devices=devices, resources=needs, retry_failed=options.retry_failed)
        return {}
    with RunView(console(stderr=True), count) as view:
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


def _report(options: argparse.Namespace) -> int:
    from harness.core.files import write_text
    from harness.report import render

    plan, store = planned(options)
    if options.intervals:
        table = {**plan.suite.table, "intervals": True}
        plan = replace(plan, suite=plan.suite.model_copy(update={"table": table}))
    if options.format == "console" and not options.output:
        _print_table(plan, store, options.table)
        return 0
    # The whole report, which has every table; a single one as HTML is a fragment of it.
    whole = options.format == "html" and options.table == "results"
    intervals = options.format in ("csv", "json", "html")
    text = (
        _page(plan, store) if whole else render(_table(plan, store, options.table, intervals=intervals), options.format)
    )
    if options.output:
        write_text(Path(options.output), text)
    else:
        print(text, end="" if text.endswith("\n") else "\n")
    return 0


def _table(plan: "Plan", store: "Store", name: str = "results", *, intervals: bool = False) -> "ResultTable":
    """A table of the suite. Its cells know their `intervals`, which take a second, where somebody will read them."""
    from harness.report import named_table, spec_of
    from harness.results.collect import rows

    collected = rows(plan, store)
    known = _intervals(plan, store, collected).cells if intervals or spec_of(plan.suite).intervals else None
    return named_table(name, plan.suite, plan.profile, collected, things=_things(plan), intervals=known)


class _Intervals(NamedTuple):
    """Where a report has intervals from: of differences, of single scores."""

    paired: "Paired"
    cells: "Single"


def _intervals(plan: "Plan", store: "Store", collected: "Sequence[Row]") -> _Intervals:
    """What statistics in the store and accepted rows of the kind say; image quality has no statistics of frames."""
    from harness.results.baselines import read_baselines
    from harness.results.collect import statistics_folder
    from harness.results.paired import estimates, intervals

    segmented = plan.suite.kind == "segmentation"
    accepted = [row for found in read_baselines() for row in found.rows] if segmented else []

    def where(run: "SeedResult") -> Path | None:
        return statistics_folder(run, store) if segmented else None

    return _Intervals(intervals(where, collected, accepted), estimates(where, collected, accepted))


def _things(plan: "Plan") -> list[str]:
    return [label.name for label in plan.labels.things]


def _print_table(plan: "Plan", store: "Store", name: str = "results") -> None:
    from harness.report import print_table

    print_table(_table(plan, store, name), console())


def _page(plan: "Plan", store: "Store") -> str:
    """The whole report as one HTML file."""
    from harness.planning.plan import make_plan_on_same_data
    from harness.report.gather import gather
    from harness.report.page import render_page
    from harness.results.collect import rows

    collected = rows(plan, store)
    paired, cells = _intervals(plan, store, collected)
    # What the same generators score as images, where that was measured: it stands beside what their frames gain.
    quality = rows(make_plan_on_same_data(plan, QUALITY), store) if plan.suite.kind == "segmentation" else []
    return render_page(gather(plan, store, collected, paired=paired, intervals=cells, quality=quality))


def _write_reports(plan: "Plan", store: "Store") -> Path:
    from harness.core.files import write_text
    from harness.report import SUFFIXES, named_table, render
    from harness.results.collect import rows, syntheses
    from harness.results.rows import write_rows
    from harness.synthesis.gallery import write_gallery

    folder = store.root.parent / "reports" / f"{plan.name}-{plan.profile_name}"
    collected = rows(plan, store)
    intervals = _intervals(plan, store, collected).cells
    kinds = {"results": "table"} | ({"classes": "classes"} if plan.suite.kind == "segmentation" else {})
    for kind, stem in kinds.items():
        table = named_table(kind, plan.suite, plan.profile, collected, things=_things(plan), intervals=intervals)
        for form in ("markdown", "csv", "json", "latex"):
            write_text(folder / f"{stem}.{SUFFIXES[form]}", render(table, form))
    write_text(folder / "report.html", _page(plan, store))
    write_rows(folder / "rows.json", collected)
    if plan.suite.kind == "image_quality" and (made := syntheses(plan, store)):
        write_gallery(made, folder / "gallery.png", title=plan.suite.title)
    return folder
