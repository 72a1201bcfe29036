"""The commands check and leaderboard compare and list accepted rows."""

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.commands.arguments import add_json, add_suite, console, planned, print_json
from harness.core.errors import HarnessError


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    one = add_suite(commands, "check", "compare measured rows with the committed baseline")
    one.add_argument("--baseline", metavar="FILE", help="default: results/baselines/<suite>-<profile>.json")
    one.add_argument("--accept", action="store_true", help="make the measured rows the new baseline")
    one.add_argument("--reason", default="", help="why, with --accept; it is kept in the baseline")
    one.add_argument("--junit", metavar="FILE", help="write the verdicts as JUnit XML")
    one.add_argument("--summary", metavar="FILE", help='append Markdown, as for "$GITHUB_STEP_SUMMARY"')
    one.add_argument("--annotations", action="store_true", help="print ::error and ::warning lines for GitHub")
    one.add_argument("--trend", metavar="DIR", help="write bigger.json and smaller.json for trend tools")
    add_json(one, "print every verdict as JSON")
    one.set_defaults(command=_check)

    one = commands.add_parser("leaderboard", help="make results/LEADERBOARD.md from the accepted rows")
    one.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the page is stale")
    add_json(one, "print the accepted rows as JSON; write nothing")
    one.set_defaults(command=_leaderboard)


def _check(options: argparse.Namespace) -> int:
    from harness.core.paths import results_folder
    from harness.planning.suite import is_foreign
    from harness.report.leaderboard import NAME, write
    from harness.results import check
    from harness.results.baselines import accept, baseline_files, read_baseline, read_baselines, statistics_in
    from harness.results.collect import rows, statistics_folder
    from harness.results.gains import decompose
    from harness.results.paired import intervals, noise
    from harness.results.spread import learn

    plan, store = planned(options)
    name = f"{plan.name}-{plan.profile_name}"
    default = results_folder() / "baselines" / f"{name}.json"
    if not options.accept:
        default = baseline_files().get(name, default)
    path = Path(options.baseline) if options.baseline else default
    if not options.baseline and is_foreign(options.suite):
        raise HarnessError(
            f"{options.suite}: another suite of this name is the project's own, and {default.name} is its baseline",
            hint="name your file otherwise, or say with --baseline which rows are meant",
        )
    measured = rows(plan, store)

    def where(run: Any) -> Path | None:
        return statistics_folder(run, store) if plan.suite.kind == "segmentation" else None

    def compared() -> list[check.Verdict]:
        accepted = read_baseline(path)
        others = [row for other in read_baselines() if other.suite != accepted.suite for row in other.rows]
        return check.compare(measured, accepted, noise=noise(statistics_in(path), where), others=others)

    if options.accept:
        changes = compared() if path.is_file() else []  # before the statistics of the old rows are dropped
        known = [row for other in read_baselines() for row in other.rows]
        new = accept(
            measured,
            path,
            reason=options.reason,
            statistics_of=where,
            comparable=plan.profile.comparable,
            spreads=learn(decompose(measured, intervals(where, measured, known))),
        )
        _tell(changes or check.additions(new), options)
        if path == default:
            write(results_folder() / NAME, read_baselines())
        return 0
    if not options.baseline and not path.is_file():
        print(f"nothing to compare with: {path} is not there yet; --accept makes it", file=sys.stderr)
        return check.Exit.NOT_COMPARED
    found = compared()
    # Files first: they are whole whatever standard output does.
    _write_verdicts(options, found, measured, list(read_baseline(path).tolerance))
    _tell(found, options)
    return check.exit_code(found)


def _tell(found: Any, options: argparse.Namespace) -> None:
    from harness.report import print_table, verdicts

    if options.json:
        print_json([verdict.model_dump(mode="json") for verdict in found])
    else:
        print_table(verdicts.to_table(found), console())


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
    if options.json:
        print_json([baseline.model_dump(mode="json") for baseline in baselines])
    elif not options.check:
        write(path, baselines)
    if not options.check or is_current(path, baselines):
        return 0
    print(f"{path} is stale: make it again with `harness leaderboard`", file=sys.stderr)
    return 1
