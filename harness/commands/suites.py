"""Commands about suites: list, plan, run, report, check, leaderboard."""

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.commands.arguments import FORMATS, console, count
from harness.core.errors import HarnessError

MANY = 200
"""Steps above which `plan` counts them instead of listing them."""
QUALITY = "ablation"
"""The suite of image quality, which stands beside the gains in a report."""


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    one = commands.add_parser("list", help="suites, profiles and parts, and which are built")
    one.set_defaults(command=_list)

    for name, help_text, command in (
        ("plan", "what `run` would do: steps, what is cached, an estimate", _plan),
        ("run", "make what is missing, then print the table", _run_suite),
        ("report", "the table of what stands in the store", _report),
        ("check", "compare measured rows with the committed baseline", _check),
    ):
        one = commands.add_parser(name, help=help_text)
        one.add_argument("suite", help="a name of suites/*.toml, or a path of such a file")
        one.add_argument("--profile", default="mini", help="mini (default), smoke or paper")
        one.add_argument("--data-root", metavar="DIR", help="the Cityscapes tree (default: CITYSCAPES_DATASET)")
        one.add_argument("--store", metavar="DIR", help="where artifacts go (default: HARNESS_STORE or results/store)")
        one.set_defaults(command=command)
        if name == "plan":
            one.add_argument("--steps", action="store_true", help=f"list every step, not only up to {MANY}")
        if name == "run":
            one.add_argument("--workers", type=count, help="steps at a time (default: one per GPU, else one per core)")
            one.add_argument("--devices", type=count, default=1, help="GPUs that share each training (default: 1)")
            one.add_argument(
                "--retry-failed", action="store_true", help="try again also what the stage itself failed at"
            )
        if name == "report":
            one.add_argument("--format", choices=FORMATS, default="console", help="html is the whole report, one file")
            one.add_argument("--output", metavar="FILE", help="write there instead of standard output")
            one.add_argument(
                "--table",
                choices=("results", "classes", "cost", "reproduction"),
                default="results",
                help="the suite's own (default), AP per class with instance counts, cost, or beside the paper",
            )
        if name == "check":
            one.add_argument("--baseline", metavar="FILE", help="default: results/baselines/<suite>-<profile>.json")
            one.add_argument("--accept", action="store_true", help="make the measured rows the new baseline")
            one.add_argument("--reason", default="", help="why, with --accept; it is kept in the baseline")
            one.add_argument("--junit", metavar="FILE", help="write the verdicts as JUnit XML")
            one.add_argument("--summary", metavar="FILE", help='append Markdown, as for "$GITHUB_STEP_SUMMARY"')
            one.add_argument("--annotations", action="store_true", help="print ::error and ::warning lines for GitHub")
            one.add_argument("--trend", metavar="DIR", help="write bigger.json and smaller.json for trend tools")

    one = commands.add_parser("leaderboard", help="make results/LEADERBOARD.md from the accepted rows")
    one.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the page is stale")
    one.set_defaults(command=_leaderboard)


def _planned(options: argparse.Namespace) -> tuple[Any, Any]:
    from harness.core.paths import data_root, store_root
    from harness.core.store import Store
    from harness.planning.plan import make_plan
    from harness.report import spec_of

    plan = make_plan(options.suite, options.profile, data_root=data_root(options.data_root))
    spec_of(plan.suite)  # a mistake in [table] is told before hours of training, not after them
    return plan, Store(store_root(options.store))


def _list(options: argparse.Namespace) -> int:
    from rich.table import Table

    from harness.planning.listing import entries

    table = Table("kind", "name", "label", "state", box=None, pad_edge=False)
    for entry in entries():
        table.add_row(entry.kind, entry.name, entry.label, entry.state)
    console().print(table)
    return 0


def _plan(options: argparse.Namespace) -> int:
    plan, store = _planned(options)
    steps, missing, begun = plan.steps(), plan.missing(store), store.half_done()
    minutes = plan.profile.minutes
    out = console()
    out.print(f"{plan.suite.title}\n{plan.suite.question}\n", soft_wrap=True)
    listed = options.steps or len(steps) <= MANY
    out.print((_steps_table if listed else _kinds_table)(steps, missing, begun, minutes))
    for row in plan.rows:
        if row.why:
            out.print(f"not built: {row.cell.name}: {row.why}")
    total = sum(minutes.get(step.kind, 0.0) for step in missing.values())
    known = all(step.kind in minutes for step in missing.values())
    estimate = f"about {total:.0f} core-minutes" if known else "no estimate for this profile"
    done = len(steps) - len(missing)
    out.print(f"\n{len(missing)} steps to do ({estimate if missing else 'nothing'}), {done} there already")
    if not listed:
        out.print("--steps lists every step")
    out.print(f"store: {store.root}")
    return 0


def _steps_table(steps: Any, missing: Any, begun: Any, minutes: dict[str, float]) -> Any:
    from rich.table import Table

    table = Table("step", "of", "key", "state", "minutes", box=None, pad_edge=False)
    for step in steps.values():
        if step.key in missing:
            estimate = minutes.get(step.kind)
            state = "half done" if step.key in begun else "to do"
            table.add_row(step.kind, step.label, step.key, state, "?" if estimate is None else f"{estimate:.2f}")
        else:
            table.add_row(step.kind, step.label, step.key, "found" if step.external else "cached", "")
    return table


def _kinds_table(steps: Any, missing: Any, begun: Any, minutes: dict[str, float]) -> Any:
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
    from harness.commands.progress_bars import RunView
    from harness.core.failures import FROM_OUTSIDE, TRIED_AGAIN, Failure
    from harness.running.scheduler import run

    plan, store = _planned(options)
    missing = plan.missing(store)
    out = console(stderr=True)
    failed: dict[str, Failure] = {}
    if missing:
        out.print(f"{plan.suite.title}: {len(missing)} steps to do, profile {plan.profile_name}, store {store.root}")
        with RunView(out, len(missing)) as view:
            failed = run(
                plan,
                store,
                workers=options.workers,
                devices=options.devices,
                retry_failed=options.retry_failed,
                tell=view,
            ).failed
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


def _report(options: argparse.Namespace) -> int:
    from harness.core.files import write_text
    from harness.report import render

    plan, store = _planned(options)
    if options.format == "console" and not options.output:
        _print_table(plan, store, options.table)
        return 0
    # The whole report, which has every table; a single one as HTML is a fragment of it.
    whole = options.format == "html" and options.table == "results"
    text = _page(plan, store) if whole else render(_table(plan, store, options.table), options.format)
    if options.output:
        write_text(Path(options.output), text)
    else:
        print(text, end="" if text.endswith("\n") else "\n")
    return 0


def _table(plan: Any, store: Any, name: str = "results") -> Any:
    from harness.report import named_table
    from harness.results.collect import rows

    return named_table(name, plan.suite, plan.profile, rows(plan, store), things=_things(plan))


def _things(plan: Any) -> list[str]:
    return [label.name for label in plan.labels.things]


def _print_table(plan: Any, store: Any, name: str = "results") -> None:
    from harness.report import print_table

    print_table(_table(plan, store, name), console())


def _page(plan: Any, store: Any) -> str:
    """The whole report as one HTML file."""
    from harness.planning.plan import beside
    from harness.report.gather import gather
    from harness.report.page import render_page
    from harness.results.baselines import read_baselines
    from harness.results.collect import rows, statistics_folder
    from harness.results.paired import intervals

    collected = rows(plan, store)
    segmented = plan.suite.kind == "segmentation"
    accepted = [row for found in read_baselines() for row in found.rows] if segmented else []
    paired = intervals(lambda run: statistics_folder(run, store), collected, accepted)
    # What the same generators score as images, where that was measured: it stands beside what their frames gain.
    quality = rows(beside(plan, QUALITY), store) if segmented else []
    return render_page(gather(plan, store, collected, paired=paired, quality=quality))


def _write_reports(plan: Any, store: Any) -> Path:
    from harness.core.files import write_text
    from harness.report import SUFFIXES, named_table, render
    from harness.results.collect import rows, syntheses
    from harness.results.rows import write_rows
    from harness.synthesis.gallery import write_gallery

    folder = store.root.parent / "reports" / f"{plan.name}-{plan.profile_name}"
    collected = rows(plan, store)
    kinds = {"results": "table"} | ({"classes": "classes"} if plan.suite.kind == "segmentation" else {})
    for kind, stem in kinds.items():
        table = named_table(kind, plan.suite, plan.profile, collected, things=_things(plan))
        for form in ("markdown", "csv", "json", "latex"):
            write_text(folder / f"{stem}.{SUFFIXES[form]}", render(table, form))
    write_text(folder / "report.html", _page(plan, store))
    write_rows(folder / "rows.json", collected)
    if plan.suite.kind == "image_quality" and (made := syntheses(plan, store)):
        write_gallery(made, folder / "gallery.png", title=plan.suite.title)
    return folder


def _check(options: argparse.Namespace) -> int:
    from harness.core.paths import results_folder
    from harness.report import print_table, verdicts
    from harness.report.leaderboard import NAME, write
    from harness.results import check
    from harness.results.baselines import accept, read_baseline, read_baselines, statistics_in
    from harness.results.collect import rows, statistics_folder
    from harness.results.paired import noise

    plan, store = _planned(options)
    default = results_folder() / "baselines" / f"{plan.name}-{plan.profile_name}.json"
    path = Path(options.baseline) if options.baseline else default
    measured = rows(plan, store)

    def where(run: Any) -> Path | None:
        return statistics_folder(run, store) if plan.suite.kind == "segmentation" else None

    def compared() -> list[check.Verdict]:
        accepted = read_baseline(path)
        others = [row for other in read_baselines() if other.suite != accepted.suite for row in other.rows]
        return check.compare(measured, accepted, noise=noise(statistics_in(path), where), others=others)

    if options.accept:
        changes = compared() if path.is_file() else []  # before the statistics of the old rows are dropped
        new = accept(measured, path, reason=options.reason, statistics_of=where, comparable=plan.profile.comparable)
        print_table(verdicts.to_table(changes or check.additions(new)), console())
        if path == default:
            write(results_folder() / NAME, read_baselines())
        return 0
    if not options.baseline and not path.is_file():
        print(f"nothing to compare with: {path} is not there yet; --accept makes it", file=sys.stderr)
        return check.Exit.NOT_COMPARED
    found = compared()
    # Files first: they are whole whatever standard output does.
    _write_verdicts(options, found, measured, list(read_baseline(path).tolerance))
    print_table(verdicts.to_table(found), console())
    return check.exit_code(found)


def _write_verdicts(options: argparse.Namespace, found: Any, measured: Any, metrics: list[str]) -> None:
    from harness.core.files import append_text, write_text
    from harness.report import verdicts

    if options.junit:
        write_text(Path(options.junit), verdicts.to_junit(found, properties={"profile": options.profile}))
    if options.summary:
        append_text(Path(options.summary), verdicts.to_summary(found))
    if options.annotations:
        print("\n".join(verdicts.to_annotations(found)))
    if options.trend:
        for name, text in verdicts.to_trend(measured, metrics).items():
            write_text(Path(options.trend) / f"{name}.json", text)


def _leaderboard(options: argparse.Namespace) -> int:
    from harness.core.paths import results_folder
    from harness.report.leaderboard import NAME, is_current, write
    from harness.results.baselines import read_baselines

    path, baselines = results_folder() / NAME, read_baselines()
    if not options.check:
        write(path, baselines)
        return 0
    if is_current(path, baselines):
        return 0
    print(f"{path} is stale: make it again with `harness leaderboard`", file=sys.stderr)
    return 1
