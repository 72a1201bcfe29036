"""Baselines are accepted rows and their statistics, committed under `results/baselines`; this module reads and makes
them.

Not here: how measured rows are compared with them (check.py).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field, NonNegativeFloat

from harness.core.config import parse, read_json
from harness.core.errors import HarnessError, near
from harness.core.files import write_bytes, write_text
from harness.core.paths import results_folder, shipped_results
from harness.metrics.table import find, known
from harness.results.rows import Record, Row, SeedResult, mean_scores
from harness.results.spread import NetworkSpread

BASELINE_FORMAT = 2
STATISTICS = "statistics.npz"


class Baseline(Record):
    """`results/baselines/<suite>-<profile>.json`: accepted rows, and how far a rerun may stray from them."""

    format: int
    """Version of this format."""
    suite: str
    """Suite the rows belong to."""
    profile: str
    """Profile they were measured under."""
    comparable: bool = False
    """Whether that profile is the papers', so that rows may stand beside printed ones."""
    reason: str
    """Why these rows were accepted."""
    tolerance: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Stated tolerance by metric, in the metric's unit; metrics without one are not compared."""
    spreads: tuple[NetworkSpread, ...] = ()
    """How much the scores of each network vary over seeds and images, learnt from the rows."""
    rows: tuple[Row, ...]
    """Accepted rows; their per-image statistics lie in the folder `statistics` beside this file, by evaluation key."""


def accept(
    rows: Sequence[Row],
    path: Path,
    *,
    reason: str,
    statistics_of: Callable[[SeedResult], Path | None],
    comparable: bool = False,
    spreads: Sequence[NetworkSpread] = (),
    tolerance: Mapping[str, float] | None = None,
) -> Baseline:
    """Make the measured rows the baseline at `path`, statistics beside it; HarnessError when a row has no result.

    `statistics_of` says in which folder the statistics of a run lie (None: nowhere). Tolerances are those given, else
    those of the baseline that is replaced, else those that the metrics themselves have. `comparable` is the profile's.
    """
    kept = [row for row in rows if row.origin == "measured" and row.status != "not built"]
    if not reason.strip():
        raise HarnessError("a baseline is accepted for a reason", hint='--accept --reason "why the numbers changed"')
    if not kept:
        raise HarnessError("there are no measured rows to accept", hint="run the suite first")
    for row in kept:
        if row.status != "ok":
            raise HarnessError(
                f"row {row.name!r} can't be accepted: {row.status}", hint="run the suite to its end first"
            )
    old = read_baseline(path) if path.is_file() else None
    stated = dict(tolerance or (old.tolerance if old else _own_tolerances(kept)))
    baseline = Baseline(
        format=BASELINE_FORMAT,
        suite=kept[0].suite,
        profile=kept[0].profile,
        comparable=comparable,
        reason=reason.strip(),
        tolerance=stated,
        spreads=tuple(spreads),
        rows=tuple(_stripped(row) for row in kept),
    )
    _keep_statistics(kept, statistics_root(path), statistics_of)
    write_text(path, baseline.model_dump_json(indent=1, exclude_defaults=True) + "\n")
    _drop_statistics(statistics_root(path))
    return baseline


def read_baseline(path: Path) -> Baseline:
    """Return the baseline at `path`; HarnessError when there is none or it is not one."""
    if not path.exists():
        raise HarnessError(f"{path}: there is no baseline", hint='make one: harness check ... --accept --reason "..."')
    data = read_json(path, "baseline")
    if not isinstance(data, dict) or data.get("format") != BASELINE_FORMAT:
        raise HarnessError(f"{path}: expected a baseline of format {BASELINE_FORMAT}")
    found = parse(Baseline, data, path)
    _check_tolerances(found, path)
    return found


def read_baselines(folder: Path | None = None) -> list[Baseline]:
    """Return every accepted baseline, or those of `folder`, in the order of their names."""
    files = baseline_files().values() if folder is None else sorted(folder.glob("*.json"))
    return [read_baseline(path) for path in files]


def baseline_files() -> dict[str, Path]:
    """Return the files of accepted rows by name, <suite>-<profile>: those that are shipped, and over them the user's
    own.
    """
    folders = (shipped_results() / "baselines", results_folder() / "baselines")
    found = {path.stem: path for folder in folders for path in folder.glob("*.json")}
    return dict(sorted(found.items()))


def statistics_root(path: Path) -> Path:
    """Return where the statistics of the baseline at `path` and of all beside it lie, one folder per evaluation key."""
    return path.parent / "statistics"


def statistics_in(path: Path) -> Callable[[SeedResult], Path | None]:
    """Return where the statistics of a run of the baseline at `path` lie; None for a run that has none."""

    def where(run: SeedResult) -> Path | None:
        folder = statistics_root(path) / run.key
        return folder if run.key and (folder / STATISTICS).is_file() else None

    return where


def _check_tolerances(baseline: Baseline, path: Path) -> None:
    """HarnessError for a tolerance of a score that no row has, or of one that would call everything the same."""
    scored = {metric for row in baseline.rows for metric in row.scores}
    for metric, tolerance in baseline.tolerance.items():
        if baseline.rows and metric not in scored:
            raise HarnessError(f"{path}: key 'tolerance.{metric}': no row has this score", hint=near(metric, scored))
        info = find(metric)
        if info is not None and info.scale == 100 and tolerance >= 1:
            message = f"{path}: key 'tolerance.{metric}': {tolerance:g} is no share below 1"
            raise HarnessError(message, hint="0.02 are two percent points")


def _own_tolerances(rows: Sequence[Row]) -> dict[str, float]:
    """Tolerances of the metrics that any of `rows` has a value of, in the order of the table of metrics."""
    own = {info.key: info.tolerance for info in known() if any(row.scores.get(info.key) for row in rows)}
    return {metric: tolerance for metric, tolerance in own.items() if tolerance is not None}


def _stripped(row: Row) -> Row:
    """Return the row without what belongs to one machine or can be computed again from its statistics."""
    seeds = tuple(run.model_copy(update={"folder": "", "classes": {}}) for run in row.seeds)
    names = [metric for metric in row.scores if find(metric)]
    seeds = tuple(
        run.model_copy(update={"scores": {name: run.scores[name] for name in names if name in run.scores}})
        for run in seeds
    )
    return row.model_copy(update={"seeds": seeds, "scores": mean_scores(seeds), "paper": {}, "paper_name": ""})


def _keep_statistics(rows: Iterable[Row], folder: Path, statistics_of: Callable[[SeedResult], Path | None]) -> None:
    """Copy the statistics of every run to `folder`/<key>/."""
    wanted: dict[str, bytes] = {}
    for run in (run for row in rows for run in row.seeds):
        source = statistics_of(run)
        if source is not None and run.key:
            try:
                wanted[run.key] = (source / STATISTICS).read_bytes()
            except OSError as error:
                raise HarnessError(f"{source / STATISTICS}: cannot be read: {error.strerror}") from None
    for key, content in wanted.items():
        write_bytes(folder / key / STATISTICS, content)


def _drop_statistics(folder: Path) -> None:
    """Remove the statistics whose key stands in no baseline beside `folder`, be it one that can't be parsed."""
    named = {
        text.decode("ascii", "replace")
        for path in folder.parent.glob("*.json")
        for text in re.findall(rb'"([^"\\]*)"', path.read_bytes())
    }
    for stale in sorted(folder.glob(f"*/{STATISTICS}")):
        if stale.parent.name not in named:
            stale.unlink()
            stale.parent.rmdir()
