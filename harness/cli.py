"""The command line, and the only place that prints or exits.

    harness list | plan SUITE | run SUITE | report SUITE | check SUITE
    harness synthesize | evaluate | instances      single pieces, on anybody's data
    harness leaderboard                            the page of accepted rows

Exit codes: 0 fine, 1 a step failed or a checked metric is worse, 2 bad input, 3 a check could not compare, 130
interrupted. Results go to standard output, everything else to standard error.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import __version__
from harness.errors import HarnessError

WIDTH_OF_A_FILE = 200
FORMATS = ("console", "markdown", "csv", "json", "latex", "html")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script `harness`."""
    sys.exit(_run(_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    try:
        return options.command(options)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness", description="Do synthesised instances really make a segmenter better?"
    )
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    add = commands.add_parser("list", help="suites, profiles and parts, and which are built")
    add.set_defaults(command=_list)

    for name, help_text, command in (
        ("plan", "what `run` would do: steps, what is cached, an estimate", _plan),
        ("run", "make what is missing, then print the table", _run_suite),
        ("report", "the table of what stands in the store", _report),
        ("check", "compare measured rows with the committed baseline", _check),
    ):
        add = commands.add_parser(name, help=help_text)
        add.add_argument("suite", help="a name of suites/*.toml, or a path of such a file")
        add.add_argument("--profile", default="mini", help="mini (default), smoke or paper")
        add.add_argument("--data-root", metavar="DIR", help="the Cityscapes tree (default: CITYSCAPES_DATASET)")
        add.add_argument("--store", metavar="DIR", help="where artifacts go (default: HARNESS_STORE or results/store)")
        add.set_defaults(command=command)
        if name == "run":
            add.add_argument("--workers", type=_count, help="steps at a time (default: one per GPU, else one per core)")
        if name == "report":
            add.add_argument("--format", choices=FORMATS, default="console", help="html is the whole report, one file")
            add.add_argument("--output", metavar="FILE", help="write there instead of standard output")
        if name == "check":
            add.add_argument("--baseline", metavar="FILE", help="default: results/baselines/<suite>-<profile>.json")
            add.add_argument("--accept", action="store_true", help="make the measured rows the new baseline")
            add.add_argument("--reason", default="", help="why, with --accept; it is kept in the baseline")
            add.add_argument("--junit", metavar="FILE", help="write the verdicts as JUnit XML")
            add.add_argument("--summary", metavar="FILE", help='append Markdown, as for "$GITHUB_STEP_SUMMARY"')
            add.add_argument("--annotations", action="store_true", help="print ::error and ::warning lines for GitHub")
            add.add_argument("--trend", metavar="DIR", help="write bigger.json and smaller.json for trend tools")

    add = commands.add_parser("synthesize", help="repaint the instances of any Cityscapes tree")
    add.add_argument("--dataset", required=True, metavar="DIR", help="a Cityscapes tree; it is never written to")
    add.add_argument("--output", required=True, metavar="DIR", help="where the new Cityscapes tree goes")
    add.add_argument("--generator", required=True, help="a name of configs/generators/*.toml")
    add.add_argument("--recipe", default="corrected", help="a name of configs/recipes/*.toml")
    add.add_argument("--profile", default="mini", help="which checkpoints and settings the generator takes")
    add.add_argument("--split", default="train")
    add.add_argument("--seed", type=_natural, default=0)
    add.add_argument("--top-k", type=_count, default=3, help="instances a frame, largest first")
    add.add_argument("--variants", type=_count, default=2, help="images an instance")
    add.add_argument("--limit", type=_count, help="only the first so many frames")
    add.add_argument("--frames", action="store_true", help="keep the full-frame composites too")
    add.set_defaults(command=_synthesize)

    add = commands.add_parser("evaluate", help="score anybody's predictions as Cityscapes' own scripts do")
    add.add_argument("--data-root", required=True, metavar="DIR", help="the Cityscapes tree with the ground truth")
    add.add_argument("--split", default="val")
    add.add_argument("--instances", metavar="DIR", help="<image>.txt with lines `relative/mask.png labelId score`")
    add.add_argument("--semantic", metavar="DIR", help="<image>*.png of label ids")
    add.add_argument("--panoptic", metavar="DIR", help="cityscapes_panoptic_<split>.json and the folder beside it")
    add.add_argument("--workers", type=_count, help="processes (default: one per core)")
    add.add_argument("--format", choices=("table", "json"), default="table")
    add.set_defaults(command=_evaluate)

    add = commands.add_parser(
        "instances", help="instances per class, before and after augmentation (the paper's Table I)"
    )
    add.add_argument("--dataset", required=True, metavar="DIR", help="the tree that was augmented")
    add.add_argument("--synthesis", required=True, metavar="DIR", help="the tree of focused crops made from it")
    add.add_argument("--profile", default="mini", help="whose caption the table carries")
    add.add_argument("--split", default="train")
    add.add_argument("--format", choices=FORMATS, default="console")
    add.set_defaults(command=_instances)

    add = commands.add_parser("leaderboard", help="make results/LEADERBOARD.md from the accepted rows")
    add.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the page is stale")
    add.set_defaults(command=_leaderboard)
    return parser


def _count(text: str) -> int:
    return _at_least(1, text)


def _natural(text: str) -> int:
    return _at_least(0, text)


def _at_least(low: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if value < low:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {low}, found {text!r}")
    return value


def _console(*, stderr: bool = False) -> Any:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else WIDTH_OF_A_FILE)


def _planned(options: argparse.Namespace) -> tuple[Any, Any]:
    from harness.paths import data_root, store_root
    from harness.plan import make_plan
    from harness.store import Store

    plan = make_plan(options.suite, options.profile, data_root=data_root(options.data_root))
    return plan, Store(store_root(options.store))


def _list(options: argparse.Namespace) -> int:
    from rich.table import Table

    from harness.listing import entries

    table = Table("kind", "name", "label", "state", box=None, pad_edge=False)
    for entry in entries():
        table.add_row(entry.kind, entry.name, entry.label, entry.state)
    _console().print(table)
    return 0


def _plan(options: argparse.Namespace) -> int:
    from rich.table import Table

    plan, store = _planned(options)
    missing = plan.missing(store)
    table = Table("step", "of", "key", "state", "minutes", box=None, pad_edge=False)
    minutes = 0.0
    for step in plan.steps().values():
        if step.key in missing:
            estimate = plan.profile.minutes.get(step.kind)
            minutes += estimate or 0.0
            table.add_row(step.kind, step.label, step.key, "to do", "?" if estimate is None else f"{estimate:.1f}")
        else:
            table.add_row(step.kind, step.label, step.key, "found" if step.external else "cached", "")
    console = _console()
    console.print(f"{plan.suite.title}\n{plan.suite.question}\n", soft_wrap=True)
    console.print(table)
    for row in plan.rows:
        if row.why:
            console.print(f"not built: {row.cell.name}: {row.why}")
    done = len(plan.steps()) - len(missing)
    known = all(step.kind in plan.profile.minutes for step in missing.values())
    estimate = f"about {minutes:.0f} core-minutes" if known else "no estimate for this profile"
    console.print(f"\n{len(missing)} steps to do ({estimate if missing else 'nothing'}), {done} there already")
    console.print(f"store: {store.root}")
    return 0


def _run_suite(options: argparse.Namespace) -> int:
    from harness.console import RunView
    from harness.run import run

    plan, store = _planned(options)
    missing = plan.missing(store)
    console = _console(stderr=True)
    failed: dict[str, dict[str, Any]] = {}
    if missing:
        console.print(
            f"{plan.suite.title}: {len(missing)} steps to do, profile {plan.profile_name}, store {store.root}"
        )
        with RunView(console, len(missing)) as view:
            failed = run(plan, store, workers=options.workers, tell=view).failed
    folder = _write_reports(plan, store)
    _print_table(plan, store)
    console.print(f"written to {folder}")
    for record in failed.values():
        if record["hint"]:
            console.print(f"  {record['hint']}", markup=False)
    if not failed:
        return 0
    console.print(f"{len(failed)} steps did not end; the same command tries them again. Logs: {store.root / 'logs'}")
    return (
        2 if all(record["usage"] or record["failure"] == "an input of it failed" for record in failed.values()) else 1
    )


def _report(options: argparse.Namespace) -> int:
    from harness.report import render
    from harness.results import write_text

    plan, store = _planned(options)
    if options.format == "console" and not options.output:
        _print_table(plan, store)
        return 0
    text = _page(plan, store) if options.format == "html" else render(_table(plan, store), options.format)
    if options.output:
        write_text(Path(options.output), text)
    else:
        print(text)
    return 0


def _table(plan: Any, store: Any) -> Any:
    from harness.collect import rows
    from harness.report import table_for

    return table_for(plan.suite, plan.profile, rows(plan, store))


def _print_table(plan: Any, store: Any) -> None:
    from harness.report import print_table

    print_table(_table(plan, store), _console())


def _page(plan: Any, store: Any) -> str:
    """The whole report as one HTML file."""
    from harness.collect import rows, statistics_folder
    from harness.report.gather import gather
    from harness.report.page import render_page
    from harness.report.paired import intervals

    paired = intervals(lambda run: statistics_folder(run, store))
    return render_page(gather(plan, store, rows(plan, store), paired=paired))


def _write_reports(plan: Any, store: Any) -> Path:
    from harness.collect import rows, syntheses
    from harness.report import SUFFIXES, render, table_for
    from harness.results import write_rows, write_text
    from harness.synthesis.gallery import write_gallery

    folder = store.root.parent / "reports" / f"{plan.name}-{plan.profile_name}"
    collected = rows(plan, store)
    table = table_for(plan.suite, plan.profile, collected)
    for form in ("markdown", "csv", "json", "latex"):
        write_text(folder / f"table.{SUFFIXES[form]}", render(table, form))
    write_text(folder / "report.html", _page(plan, store))
    write_rows(folder / "rows.json", collected)
    if plan.suite.kind == "image_quality" and (made := syntheses(plan, store)):
        write_gallery(made, folder / "gallery.png", title=plan.suite.title)
    return folder


def _check(options: argparse.Namespace) -> int:
    from harness import check
    from harness.collect import rows, statistics_folder
    from harness.report import print_table, verdicts
    from harness.report.leaderboard import NAME, read_baselines, write
    from harness.report.paired import noise
    from harness.results import results_folder

    plan, store = _planned(options)
    default = results_folder() / "baselines" / f"{plan.name}-{plan.profile_name}.json"
    path = Path(options.baseline) if options.baseline else default
    measured = rows(plan, store)

    def where(run: Any) -> Path:
        return statistics_folder(run, store)

    if options.accept:
        old = check.read_baseline(path) if path.is_file() else None
        new = check.accept(measured, path, reason=options.reason, statistics_of=where)
        print_table(verdicts.to_table(check.changes(old, new)), _console())
        if path == default:
            write(results_folder() / NAME, read_baselines())
        return 0
    baseline = check.read_baseline(path)
    found = check.compare(measured, baseline, noise=noise(check.statistics_in(path), where))
    print_table(verdicts.to_table(found), _console())
    _write_verdicts(options, found, measured, list(baseline.tolerance))
    return check.exit_code(found)


def _write_verdicts(options: argparse.Namespace, found: Any, measured: Any, metrics: list[str]) -> None:
    from harness.report import verdicts
    from harness.results import write_text

    if options.junit:
        write_text(Path(options.junit), verdicts.to_junit(found, properties={"profile": options.profile}))
    if options.summary:
        with open(options.summary, "a", encoding="utf-8") as handle:
            handle.write(verdicts.to_summary(found))
    if options.annotations:
        print("\n".join(verdicts.to_annotations(found)))
    if options.trend:
        for name, text in verdicts.to_trend(measured, metrics).items():
            write_text(Path(options.trend) / f"{name}.json", text)


def _instances(options: argparse.Namespace) -> int:
    from harness.console import Bar
    from harness.report import print_table, render
    from harness.report.tables import count_instances, instance_table
    from harness.results import published_facts
    from harness.suite import load_profile

    console = _console(stderr=True)
    with Bar(console, "original") as report:
        original = count_instances(Path(options.dataset), options.split, report)
    with Bar(console, "augmented") as report:
        added = count_instances(Path(options.synthesis), options.split, report)
    augmented = {name: count + added[name] for name, count in original.items()}
    table = instance_table(original, augmented, published_facts().is_cityscapes, load_profile(options.profile))
    if options.format == "console":
        print_table(table, _console())
    else:
        print(render(table, options.format))
    return 0


def _leaderboard(options: argparse.Namespace) -> int:
    from harness.report.leaderboard import NAME, is_current, read_baselines, write
    from harness.results import results_folder

    path, baselines = results_folder() / NAME, read_baselines()
    if not options.check:
        write(path, baselines)
        return 0
    if is_current(path, baselines):
        return 0
    print(f"{path} is stale: make it again with `harness leaderboard`", file=sys.stderr)
    return 1


def _synthesize(options: argparse.Namespace) -> int:
    from harness.console import Bar
    from harness.stages.synthesize import synthesize

    console = _console(stderr=True)
    with Bar(console, f"synthesize {options.generator}") as report:
        facts = synthesize(
            Path(options.dataset),
            Path(options.output),
            generator=options.generator,
            recipe=options.recipe,
            profile=options.profile,
            seed=options.seed,
            split=options.split,
            top_k=options.top_k,
            variants=options.variants,
            limit=options.limit,
            frames=options.frames,
            report=report,
        )
    console.print(", ".join(f"{name}: {value}" for name, value in facts.items() if isinstance(value, int | float)))
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from harness import evaluation
    from harness.console import Bar
    from harness.environment import cores

    given = {name: Path(folder) for name in ("instances", "semantic", "panoptic") if (folder := getattr(options, name))}
    if not given:
        raise HarnessError("nothing to evaluate", hint="pass --instances, --semantic or --panoptic")
    with Bar(_console(stderr=True), "evaluate") as report:
        found = evaluation.evaluate(
            Path(options.data_root), options.split, **given, workers=options.workers or cores(), report=report
        )
    print(evaluation.render_json(found) if options.format == "json" else evaluation.render_table(found))
    return 0


if __name__ == "__main__":
    main()
