"""This module judges what a table can show: its controls of known effect, and its smallest detectable effect.

A control that expects a gain must show one, a control that expects none must show none, and labels of other frames must
teach nothing. Read from the same rows and intervals as the answer. Not here: the words (harness/report/self_test.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.results.gains import MAIN, Gain
from harness.results.rows import Row, finished
from harness.results.spread import Resolution, learn, resolution

LEARNT_NOTHING = 0.02
"""Score in the main metric below which a network has learnt nothing."""

Kind = Literal["gain", "none", "nothing learnt"]
TrialOutcome = Literal["passed", "failed", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One control whose truth is known, and whether the table shows it."""

    kind: Kind
    """The truth: a gain, no difference, or (for shuffled labels) nothing learnt."""
    outcome: TrialOutcome
    """unknown: there is no interval to decide it."""
    row: Row
    """The control."""
    gain: Gain | None = None
    """Its difference; None for a score that is to be next to nothing."""


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """This holds what the controls of a table showed, and how small an effect it can show."""

    trials: tuple[Trial, ...]
    resolutions: tuple[Resolution, ...]

    @property
    def outcome(self) -> TrialOutcome:
        """failed when one trial did; passed when all did; else, or without a trial, unknown."""
        outcomes = {trial.outcome for trial in self.trials}
        return "failed" if "failed" in outcomes else "passed" if outcomes == {"passed"} else "unknown"


def examine(rows: Iterable[Row], gains: Sequence[Gain]) -> Instrument:
    """Judge a table by the controls among its measured `rows` and by their `gains`."""
    measured = [row for row in rows if row.origin == "measured" and row.scores.get(MAIN) is not None]
    trials = [trial for gain in gains if (trial := _trial(gain))]
    trials += [_learns_nothing(row) for row in measured if row.labels == "shuffled"]
    return Instrument(trials=tuple(trials), resolutions=tuple(_resolutions(measured, gains)))


def _trial(gain: Gain) -> Trial | None:
    """Return the trial that a difference is: of a control and what its truth is about, or of any two rows whose labels
    lie.
    """
    if gain.factor != "generator":
        return None
    if gain.after.labels == "shuffled":
        return Trial(kind="none", outcome=_null(gain), row=gain.after, gain=gain)
    about = next(iter(gain.after.compared_with), "")
    if not gain.after.expects or gain.before.generator != about:
        return None
    if gain.after.expects == "none":
        return Trial(kind="none", outcome=_null(gain), row=gain.after, gain=gain)
    found = gain.difference
    outcome: TrialOutcome = "unknown" if found is None else "passed" if found.low > 0 else "failed"
    return Trial(kind="gain", outcome=outcome, row=gain.after, gain=gain)


def _null(gain: Gain) -> TrialOutcome:
    """Kept unless the interval leaves zero out."""
    return "unknown" if gain.difference is None else "failed" if gain.certain else "passed"


def _learns_nothing(row: Row) -> Trial:
    score = row.scores[MAIN]
    low = score is not None and score < LEARNT_NOTHING
    return Trial(kind="nothing learnt", outcome="passed" if low else "failed", row=row)


def _resolutions(rows: Sequence[Row], gains: Sequence[Gain]) -> Iterator[Resolution]:
    """Return what each network's rows show with the seeds and images that they have; the fewest seeds count."""
    for spread in learn(gains):
        mine = [row for row in rows if (row.segmenter, row.backbone) == (spread.segmenter, spread.backbone)]
        seeds = min(len(finished(row.seeds)) for row in mine)
        yield resolution(spread, seeds=seeds, images=spread.n_images)
