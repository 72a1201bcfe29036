"""The first sentence of a report answers the suite's question by what its intervals allow, or says why it cannot.

It begins with "Yes", "No" or "Cannot tell", and claims nothing that an interval does not show. Not here: all
differences in words (answer.py), the controls behind the instrument (self_test.py).
"""

from collections.abc import Mapping, Sequence

from harness.core.numbers import number
from harness.report.answer import of_paper, with_interval
from harness.report.columns import Column, of_score
from harness.results.gains import Gain, printed
from harness.results.instrument import Instrument
from harness.results.rows import Row

UNDECIDED = "Cannot tell"


def sentence(gains: Sequence[Gain], found: Instrument) -> str:
    """Return what the gains of a segmentation suite answer; empty without one."""
    if not gains:
        return ""
    lies = [gain for gain in gains if gain.factor == "generator" and gain.after.labels == "shuffled"]
    honest = [gain for gain in gains if gain.after.labels == "true"]
    levels = [gain for gain in honest if gain.factor != "generator"]
    methods = [gain for gain in honest if gain.factor == "generator" and gain.after.role == "generator"]
    if lies and not methods:
        return _of_lies(lies)
    if found.outcome == "failed":
        return f"{UNDECIDED}: the instrument fails its controls, so the differences below mean nothing."
    if levels:
        return _of_levels(levels)
    controls = [gain for gain in honest if gain.after.role == "control" and not gain.after.expects]
    return _of_methods(methods, controls, found) if methods else ""


def of_quality(rows: Sequence[Row]) -> str:
    """Return what image quality says of generators and of controls that change little or nothing; empty without
    rows."""
    measured = [row for row in rows if row.origin == "measured" and row.status == "ok"]
    made = {row.generator_label or row.method: row for row in measured if row.role == "generator"}
    controls = {row.generator_label or row.method: row for row in measured if row.role == "control"}
    entries = [of_score(key) for key in dict.fromkeys(key for row in measured for key in row.scores if of_paper(key))]
    first = {entry.label: best for entry in entries if (best := _first(made, entry))}
    if not first:
        return ""
    wins: dict[str, list[str]] = {}
    for label, (name, _) in first.items():
        wins.setdefault(name, []).append(label)
    leading = "; ".join(f"{name} leads in {', '.join(labels)}" for name, labels in wins.items())
    beaten = [
        entry
        for entry in entries
        if entry.label in first and _beaten(first[entry.label][1], _first(controls, entry), entry)
    ]
    if not controls:
        return f"{UNDECIDED}: {leading}, but no control shows what a generator that changes nothing would score."
    if beaten:
        return (
            f"No: in {len(beaten)} of {len(first)} metrics a control beats every generator. Among the generators "
            f"{leading}."
        )
    return f"Yes: no control beats the best generator in any of {len(first)} metrics, and {leading}."


def _of_methods(methods: Sequence[Gain], controls: Sequence[Gain], found: Instrument) -> str:
    """Does a generator raise the score over real frames, and over the control that it is compared with?"""
    whole = [gain for gain in methods if gain.before.role == "baseline"]
    beyond = {(_place(gain)): gain for gain in methods if gain.before.role == "control"}
    known = [gain for gain in whole if gain.difference]
    if not known:
        return f"{UNDECIDED}: no difference has an interval; give the suite several seeds."
    raised = sorted((gain for gain in known if gain.certain and gain.value > 0), key=lambda gain: -gain.value)
    lowered = sorted((gain for gain in known if gain.certain and gain.value < 0), key=lambda gain: gain.value)
    if raised:
        better = [gain for gain in raised if (other := beyond.get(_place(gain))) is None or _up(other)]
        if better:
            best = better[0]
            over = _over(beyond.get(_place(best)), "and by")
            yes = f"Yes, in {len(better)} of {len(whole)} comparisons" if len(whole) > 1 else "Yes"
            return f"{yes}: {_named(best)} raises {_by(best)} over {_before(best)}{over}.{_as_good(best, controls)}"
        best = raised[0]
        other = beyond[_place(best)]
        if all(beyond[_place(gain)].certain for gain in raised):
            return (
                f"No: {_named(best)} raises {_by(best)} over {_before(best)}, but stays behind "
                f"{_before(other)}, by {_value(other)}."
            )
        return (
            f"{UNDECIDED}: {_named(best)} raises {_by(best)} over {_before(best)}, but what it adds to "
            f"{_before(other)}, {_value(other)}, is not distinguishable from zero."
        )
    if lowered:
        most = lowered[0]
        losses = f"{len(lowered)} show{'s' * (len(lowered) == 1)} a loss"
        return (
            f"No: none of {len(whole)} comparisons of a generator with {_before(most)} shows a gain and {losses}, "
            f"the largest {_value(most)} of {of_score(most.metric).label} for {_named(most)}."
        )
    return f"{UNDECIDED}: no generator differs distinguishably from {_before(known[0])}{_hidden(found)}."


def _of_levels(levels: Sequence[Gain]) -> str:
    """Does another recipe or mix change the result?"""
    what = levels[0].factor
    known = [gain for gain in levels if gain.difference]
    certain = sorted((gain for gain in known if gain.certain), key=lambda gain: -abs(gain.value))
    if not known:
        return f"{UNDECIDED}: no difference has an interval; give the suite several seeds."
    if certain:
        gain = certain[0]
        return (
            f"Yes: the {what} matters in {len(certain)} of {len(levels)} comparisons, most for {_named(gain)}: "
            f"{printed(gain.after, gain.factor)} is {_value(gain)} from "
            f"{printed(gain.before, gain.factor)}, in {of_score(gain.metric).label}."
        )
    widest = max(known, key=_reach)
    return (
        f"{UNDECIDED}: nothing that the {what} changes is distinguishable from zero; the widest interval is that of "
        f"{_named(widest)}, {_value(widest)}."
    )


def _of_lies(lies: Sequence[Gain]) -> str:
    """Does a gain survive labels of other frames? It must not."""
    left = [gain for gain in lies if gain.certain]
    if left:
        most = max(left, key=lambda gain: abs(gain.value))
        return (
            f"Yes: with labels of other frames {_named(most)} still differs from {_before(most)} by "
            f"{_value(most)}, so no table made like this one can be trusted."
        )
    if any(gain.difference is None for gain in lies):
        return f"{UNDECIDED}: not every difference has an interval; give the suite several seeds."
    return f"No: with labels of other frames no gain is left ({len(lies)} of {len(lies)} comparisons)."


def _first(rows: Mapping[str, Row], entry: Column) -> tuple[str, float] | None:
    """Return the best of some rows in a metric."""
    known = [(name, score) for name, row in rows.items() if (score := row.scores.get(entry.key)) is not None]
    if not known or entry.direction is None:
        return None
    return (max if entry.direction == "up" else min)(known, key=lambda one: one[1])


def _beaten(score: float, by: tuple[str, float] | None, entry: Column) -> bool:
    """Return whether another score is better on the printed digits."""
    if by is None:
        return False
    mine, other = (round(value * entry.scale, entry.decimals) for value in (score, by[1]))
    return other > mine if entry.direction == "up" else other < mine


def _place(gain: Gain) -> tuple[object, ...]:
    return gain.after.name, gain.group


def _reach(gain: Gain) -> float:
    """Return how far from zero its interval reaches."""
    return max(abs(gain.difference.low), abs(gain.difference.high)) if gain.difference else 0.0


def _up(gain: Gain) -> bool:
    return gain.certain and gain.value > 0


def _named(gain: Gain) -> str:
    """Return the row with what it stands in, such as "GLIGEN on Swin"."""
    group = [name for name in gain.group if name != printed(gain.after, "labels")]
    where = f" on {', '.join(group)}" if group else ""
    return f"{gain.after.generator_label or gain.after.method}{where}"


def _before(gain: Gain) -> str:
    if gain.before.role == "baseline":
        return "real frames"
    return f"“{gain.before.generator_label or gain.before.generator}”"


def _over(gain: Gain | None, joint: str) -> str:
    return "" if gain is None else f" {joint} {_value(gain)} over {_before(gain)}"


def _by(gain: Gain) -> str:
    return f"{of_score(gain.metric).label} by {_value(gain)}"


def _value(gain: Gain) -> str:
    """Return the difference with unit and interval."""
    value, *interval = with_interval(gain).split(" ", 1)
    return " ".join([value, "points", *interval])


def _as_good(best: Gain, controls: Sequence[Gain]) -> str:
    """Return a clause on a control of unknown truth, in the same network, that gains at least as much as the best
    generator; empty where there is none.
    """
    rivals = [gain for gain in controls if gain.group == best.group and gain.certain and gain.value > 0]
    ahead = [gain for gain in rivals if _score(gain) >= _score(best)]
    if not ahead:
        return ""
    most = max(ahead, key=_score)
    return f" Without any generator, {_named(most)} does as well: {_value(most)} over {_before(most)}."


def _score(gain: Gain) -> float:
    return gain.after.scores.get(gain.metric) or 0.0


def _hidden(found: Instrument) -> str:
    if not found.resolutions:
        return ""
    most = max(found.resolutions, key=lambda one: one.detectable)
    entry = of_score(most.spread.metric)
    size = number(most.detectable * entry.scale, entry.decimals)
    return f"; effects below {size} {entry.label} points may stay unseen ({most.spread.backbone})"
