"""LEADERBOARD.md from committed rows, byte for byte the same from the same rows.

It reads accepted baselines and published numbers, never a store; one table per suite and profile, best AP first, and a
profile that isn't the paper's says in its heading that it is not comparable.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.check import Baseline, read_baseline
from harness.files import write_text
from harness.report.markdown import escape
from harness.report.table import number, signatures
from harness.results import Row, finished, results_folder

NAME = "LEADERBOARD.md"
HEAD = """# Leaderboard

Made from the accepted rows in `baselines/` by `harness leaderboard`; edit nothing here. Published numbers stand apart,
in `published/`. Numbers of different tables are never comparable with each other: data, sizes and budgets differ.
"""
COLUMNS = ("Rank", "Method", "Version", "Backbone", "PQ", "IoU", "AP", "AP50", "Images seen", "Seeds", "n", "Commit")


def leaderboard(baselines: Iterable[Baseline]) -> str:
    """The page: one section per baseline, ordered by suite and profile."""
    ordered = sorted(baselines, key=lambda found: (found.suite, found.profile))
    sections = [_section(found) for found in ordered] or ["No rows have been accepted yet.\n"]
    return "\n".join([HEAD, *sections])


def read_baselines(folder: Path | None = None) -> list[Baseline]:
    """Every accepted baseline of `folder` (default: results/baselines), in the order of their names."""
    folder = folder or results_folder() / "baselines"
    return [read_baseline(path) for path in sorted(folder.glob("*.json"))]


def is_current(path: Path, baselines: Iterable[Baseline]) -> bool:
    """Whether the page at `path` is what the rows give; False when it is missing."""
    return path.is_file() and path.read_bytes() == leaderboard(baselines).encode()


def write(path: Path, baselines: Iterable[Baseline]) -> None:
    """Write the page."""
    write_text(path, leaderboard(baselines))


def _section(baseline: Baseline) -> str:
    comparable = "" if baseline.profile == "paper" else " (not comparable with published numbers)"
    rows = sorted(baseline.rows, key=lambda row: (-(row.scores.get("AP") or 0.0), row.name))
    lines = [
        f"## {escape(baseline.suite)}, profile {escape(baseline.profile)}{comparable}",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'|'.join(' ---: ' if name in _NUMBERS else ' :--- ' for name in COLUMNS)}|",
        *(f"| {' | '.join(_cells(place, row))} |" for place, row in enumerate(rows, start=1)),
        "",
        f"Accepted: {escape(baseline.reason)}. Run: `harness run {baseline.suite} --profile {baseline.profile}`.",
        "",
    ]
    lines += [f"{escape(sentence)}\n" for sentence in signatures(rows)]
    return "\n".join(lines)


_NUMBERS = ("Rank", "PQ", "IoU", "AP", "AP50", "Images seen", "Seeds", "n")


def _cells(place: int, row: Row) -> Sequence[str]:
    scores = [_score(row, metric) for metric in ("PQ", "IoU", "AP", "AP50")]
    seen = row.budget.images_seen
    commits = dict.fromkeys(run.commit for run in row.seeds if run.commit)
    return (
        str(place),
        escape(row.method),
        escape(row.version) or "–",
        escape(row.backbone) or "–",
        *scores,
        "" if seen is None else number(seen, 0),
        str(len(finished(row.seeds))),
        "" if row.images is None else number(row.images, 0),
        ", ".join(f"`{commit}`" for commit in commits),
    )


def _score(row: Row, metric: str) -> str:
    found = row.measurement(metric)
    if found.mean is None:
        return "–"
    text = number(found.mean * 100, 2)
    return text if found.std is None else f"{text} ± {number(found.std * 100, 2)}"
