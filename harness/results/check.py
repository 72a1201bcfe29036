"""A check compares measured rows with a committed baseline, metric by metric: same, better, worse, missing or
incomparable.

Where the same steps ran on the same kind of machine, any difference counts. Otherwise it counts when it is larger than
the largest of three tolerances: the one the baseline states, what resampling says (paired over images and seeds, from
stored statistics), and what the spread over the seeds of all accepted rows says. It is two-sided: a jump up is a
finding too. Rows on other data, or made by metrics of another signature, are incomparable and never a number. Not here:
what is accepted (baselines.py), words (harness/report/verdicts.py).
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

from harness.core.config import Strict
from harness.metrics.student import student
from harness.metrics.table import find
from harness.results.baselines import Baseline
from harness.results.rows import Row, finished
from harness.results.spread import SeedSpreads

if TYPE_CHECKING:
    from harness.metrics.intervals import Difference

ERROR_RATE = 0.05
"""Chance of a false alarm in a whole check, shared by its comparisons (Bonferroni)."""

_LAST_DIGITS = 1e-9
"""Relative; what committed numbers lose in print."""

Kind = Literal["same", "better", "worse", "missing", "incomparable"]
Source = Literal["stated", "resampling", "seeds", "equal runs"]
"""Where a tolerance comes from."""


class Exit(IntEnum):
    """These are the exit codes of `harness check`; 2 is bad input, as everywhere."""

    FINE = 0
    WORSE = 1
    NOT_COMPARED = 3


class Verdict(Strict):
    """This holds what became of one metric of one row. Values in the metric's own unit (fractions for segmentation)."""

    kind: Kind
    suite: str
    row: str
    metric: str
    before: float | None = None
    now: float | None = None
    tolerance: float | None = None
    decided_by: Source | Literal[""] = ""
    interval: tuple[float, float] | None = None
    reason: str = ""

    @property
    def difference(self) -> float | None:
        """Now minus before."""
        return None if self.before is None or self.now is None else self.now - self.before


Noise = Callable[[Row, Row, str], "Difference | None"]
"""(row before, row now, metric) to their difference with its interval; None where there are no statistics."""


def no_noise(before: Row, now: Row, metric: str) -> None:
    """Return no difference: a `Noise` for rows without per-image statistics."""


def compare(
    rows: Sequence[Row], baseline: Baseline, *, noise: Noise = no_noise, others: Iterable[Row] = ()
) -> list[Verdict]:
    """Return one verdict per accepted row and metric, and one per measured row that the baseline doesn't know.

    `others`: accepted rows of other suites. One seed says nothing of what another seed would give; theirs may.
    """
    measured = {row.name: row for row in rows if row.origin == "measured"}
    pairs = [(before, measured.get(before.name)) for before in baseline.rows]
    compared = [(b, n, m) for b, n in pairs if n and not _obstacle(b, n) for m in baseline.tolerance if _both(b, n, m)]
    judge = _Judge(baseline, noise, comparisons=len(compared), others=others)
    verdicts: list[Verdict] = []
    for before, now in pairs:
        verdicts.extend(judge.row(before, now))
    known = {row.name for row in baseline.rows}
    verdicts.extend(_stranger(row) for row in measured.values() if row.name not in known and row.status != "not built")
    return verdicts


def exit_code(verdicts: Iterable[Verdict]) -> Exit:
    """WORSE when a metric is worse; else NOT_COMPARED when anything, or everything, couldn't be compared; else FINE."""
    kinds = {verdict.kind for verdict in verdicts}
    if "worse" in kinds:
        return Exit.WORSE
    return Exit.FINE if kinds and kinds <= {"same", "better"} else Exit.NOT_COMPARED


def additions(new: Baseline) -> list[Verdict]:
    """Return a verdict for each row and metric of a first baseline."""
    return [
        Verdict(kind="missing", suite=new.suite, row=row.name, metric=metric, now=row.scores.get(metric), reason="new")
        for row in new.rows
        for metric in new.tolerance
    ]


class _Judge:
    """Judges rows of one check; knows how many comparisons share the chance of a false alarm."""

    def __init__(self, baseline: Baseline, noise: Noise, *, comparisons: int, others: Iterable[Row]) -> None:
        self.baseline = baseline
        self.spreads = SeedSpreads([*baseline.rows, *others])
        self.noise = noise
        self.tail = ERROR_RATE / max(1, comparisons) / 2

    def row(self, before: Row, now: Row | None) -> Iterable[Verdict]:
        for metric in self.baseline.tolerance:
            if before.scores.get(metric) is None and (now is None or now.scores.get(metric) is None):
                continue
            yield self.metric(before, now, metric)

    def metric(self, before: Row, now: Row | None, metric: str) -> Verdict:
        old, new = before.scores.get(metric), now.scores.get(metric) if now else None

        def verdict(kind: Kind, reason: str) -> Verdict:
            return Verdict(
                kind=kind, suite=before.suite, row=before.name, metric=metric, before=old, now=new, reason=reason
            )

        if now is None or now.status != "ok" or new is None:
            return verdict("missing", _why_missing(now, metric))
        info, obstacle = find(metric), _obstacle(before, now)
        if obstacle or old is None:
            return verdict("incomparable", obstacle or "the baseline has no value")
        if info is None:
            return verdict("incomparable", "no metric that is installed describes it")
        there, here = ([run.machine for run in finished(row.seeds)] for row in (before, now))
        same, elsewhere = _same_runs(before, now), all(there) and there != here
        spread = self.noise(before, now, metric) if elsewhere or not same else None
        tolerance, decided_by = self.tolerance(before, now, metric, spread)
        if same and all(there) and not elsewhere:
            tolerance, decided_by = _LAST_DIGITS * abs(old), "equal runs"
        moved = same and elsewhere and new != old
        reason = f"machines differ: {_names(there)} in the baseline, {_names(here)} now" if moved else ""
        kind: Kind = "same"
        if abs(new - old) > tolerance:
            kind = "better" if (new > old) == (info.direction == "up") else "worse"
        interval = (spread.low, spread.high) if spread else None
        found = {"tolerance": tolerance, "decided_by": decided_by, "interval": interval}
        return verdict(kind, reason).model_copy(update=found)

    def tolerance(self, before: Row, now: Row, metric: str, spread: "Difference | None") -> tuple[float, Source]:
        """Return the largest tolerance and where it comes from."""
        found: dict[Source, float] = {"stated": self.baseline.tolerance[metric]}
        if spread is not None:
            # From 95 % for one comparison to what all comparisons of the check share.
            normal = statistics.NormalDist()
            found["resampling"] = (spread.high - spread.low) / 2 * normal.inv_cdf(self.tail) / normal.inv_cdf(0.025)
        seeds = self.spreads.of(before, metric)
        if seeds.freedom:
            error = math.sqrt(seeds.variance * (1 / len(finished(before.seeds)) + 1 / len(finished(now.seeds))))
            found["seeds"] = student(self.tail, seeds.freedom) * error
        name = max(found, key=lambda key: found[key])
        return found[name], name


def _obstacle(before: Row, now: Row) -> str:
    """Return why two rows can't be compared; empty when they can."""
    for name, label in (
        ("suite", "suite"),
        ("profile", "profile"),
        ("data", "data"),
        ("settings", "what the command line sets"),
        ("images", "number of evaluated images"),
        ("signature", "metric signature"),
    ):
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            return f"{label} differs: {old!r} in the baseline, {new!r} now"
    return ""


def _names(machines: list[str]) -> str:
    return ", ".join(dict.fromkeys(machine or "not known" for machine in machines))


def _both(before: Row, now: Row, metric: str) -> bool:
    return before.scores.get(metric) is not None and now.scores.get(metric) is not None


def _why_missing(now: Row | None, metric: str) -> str:
    if now is None:
        return "the suite has no such row"
    if now.status == "ok":
        return f"no value of {metric}"
    errors = [run.error.strip().splitlines()[-1] for run in now.seeds if run.error.strip()]
    return f"{now.status}: {errors[0]}" if errors else now.status


def _stranger(row: Row) -> Verdict:
    if row.status != "ok":
        return Verdict(kind="missing", suite=row.suite, row=row.name, metric="", reason=_why_missing(row, ""))
    return Verdict(
        kind="incomparable", suite=row.suite, row=row.name, metric="", reason="not in the baseline; accept it"
    )


def _same_runs(before: Row, now: Row) -> bool:
    keys = [[run.key for run in finished(row.seeds)] for row in (before, now)]
    return keys[0] == keys[1] and all(keys[0])
