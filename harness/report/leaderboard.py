"""This module writes LEADERBOARD.md from committed rows, byte for byte the same from the same rows.

It reads accepted baselines, never a store: one table per suite and profile. A profile that isn't comparable with the
paper says so in its heading. Rows are ordered by AP and ranked where they compete; controls and rows with shuffled
labels do not. Image quality has no ranks: the generator that changes nothing would win.
"""

from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

from harness.core.files import write_text
from harness.core.numbers import number
from harness.metrics.table import known
from harness.report.columns import of_score
from harness.report.markdown import escape
from harness.report.result_table import signatures
from harness.report.row_names import version
from harness.results.baselines import Baseline
from harness.results.gains import MAIN
from harness.results.rows import Row, competes, finished

NAME = "LEADERBOARD.md"
HEAD = """# Leaderboard

Made from the accepted rows in `baselines/` by `harness leaderboard`; edit nothing here. Published numbers stand apart,
in `published/`. Numbers of different tables are never comparable with each other: data, sizes and budgets differ.
"""
NOTHING = "–"


def leaderboard(baselines: Iterable[Baseline]) -> str:
    """Return the page: one section per baseline, ordered by suite and profile."""
    ordered = sorted(baselines, key=lambda found: (found.suite, found.profile))
    sections = [_section(found) for found in ordered] or ["No rows have been accepted yet.\n"]
    return "\n".join([HEAD, *sections])


def is_current(path: Path, baselines: Iterable[Baseline]) -> bool:
    """Return whether the page at `path` is what the rows give; False when it is missing."""
    return path.is_file() and path.read_bytes() == leaderboard(baselines).encode()


def write(path: Path, baselines: Iterable[Baseline]) -> None:
    """Write the page."""
    write_text(path, leaderboard(baselines))


def _section(baseline: Baseline) -> str:
    comparable = "" if baseline.comparable else " (not comparable with published numbers)"
    rows = list(baseline.rows)
    if ranked := any(row.scores.get(MAIN) is not None for row in rows):
        rows.sort(key=lambda row: (-(row.scores.get(MAIN) or 0.0), row.name))
    columns = {heading: [cell(row) for row in rows] for heading, cell in _columns(_metrics(baseline)).items()}
    if ranked:
        columns = {"Rank": _ranks(rows)} | columns
    columns = {heading: cells for heading, cells in columns.items() if set(cells) != {NOTHING}}
    lines = [
        f"## {escape(baseline.suite)}, profile {escape(baseline.profile)}{comparable}",
        "",
        f"| {' | '.join(columns)} |",
        f"|{'|'.join(' :--- ' if heading in _TEXT else ' ---: ' for heading in columns)}|",
        *(f"| {' | '.join(cells)} |" for cells in zip(*columns.values(), strict=True)),
        "",
        f"Accepted: {escape(baseline.reason)}. Run: `harness run {baseline.suite} --profile {baseline.profile}`.",
        "",
    ]
    lines += [f"{escape(sentence)}\n" for sentence in signatures(rows)]
    return "\n".join(lines)


def _ranks(rows: Iterable[Row]) -> list[str]:
    """Places of rows in their order; a dash for those that do not compete."""
    places = map(str, count(1))
    return [next(places) if competes(row) else NOTHING for row in rows]


def _metrics(baseline: Baseline) -> list[str]:
    """Return the metrics that a check compares, in the order of the table of metrics; then those that no metric
    describes.
    """
    compared = [info.key for info in known() if info.tolerance is not None or info.key in baseline.tolerance]
    return [*dict.fromkeys((*compared, *baseline.tolerance))]


def _score(metric: str) -> Callable[[Row], str]:
    entry = of_score(metric)

    def cell(row: Row) -> str:
        found = row.measurement(metric)
        if found.mean is None:
            return NOTHING
        text = number(found.mean * entry.scale, entry.decimals)
        return text if found.std is None else f"{text} ± {number(found.std * entry.scale, entry.decimals)}"

    return cell


def _commits(row: Row) -> str:
    return ", ".join(f"`{commit}`" for commit in dict.fromkeys(run.commit for run in row.seeds if run.commit))


_TEXT = ("Method", "Version", "Backbone", "Commit")


def _columns(metrics: Iterable[str]) -> dict[str, Callable[[Row], str]]:
    """Return what stands under each heading; a column without a single value is left out."""
    return {
        "Method": lambda row: escape(row.method),
        "Version": lambda row: escape(version(row)) or NOTHING,
        "Backbone": lambda row: escape(row.backbone) or NOTHING,
        **{of_score(metric).label: _score(metric) for metric in metrics},
        "Images seen": lambda row: NOTHING if row.budget.images_seen is None else number(row.budget.images_seen, 0),
        "Seeds": lambda row: str(len(finished(row.seeds))),
        "n": lambda row: NOTHING if row.images is None else number(row.images, 0),
        "Commit": lambda row: _commits(row) or NOTHING,
    }
