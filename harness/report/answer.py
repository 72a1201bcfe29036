"""The answer of a report in words: what each gain is made of, with intervals.

Not here: how gains are computed (harness/results/gains.py), the figure beside the words (gather.py).
"""

from collections.abc import Sequence

from harness.core.numbers import number
from harness.report.columns import of_score
from harness.results.gains import Gain, printed


def sentences(gains: Sequence[Gain]) -> list[str]:
    """The answer in words: one sentence per group."""
    return [_sentence(group, [g for g in gains if g.group == group]) for group in dict.fromkeys(g.group for g in gains)]


def label(gain: Gain) -> str:
    """What is subtracted from what, for a figure."""
    new, old = _sides(gain)
    of = "" if gain.factor == "generator" else f", {gain.after.generator_label}"
    return f"{gain.share}: {new or gain.after.generator_label} − {old}{of}"


def _sentence(group: tuple[str, ...], gains: Sequence[Gain]) -> str:
    shares: dict[tuple[str, str, str], list[Gain]] = {}
    for gain in gains:
        shares.setdefault((gain.share, *_sides(gain)), []).append(gain)
    parts = [
        f"{share} ({new or 'generator'} − {old}) is {', '.join(map(_amount, mine))}"
        for (share, new, old), mine in shares.items()
    ]
    unit = of_score(gains[0].metric).label
    return f"{', '.join(group)}, differences in {unit} with 95 % intervals: {'; '.join(parts)}."


def _sides(gain: Gain) -> tuple[str, str]:
    """What is subtracted from what; the first is empty for a generator that is no control."""
    if gain.factor != "generator":
        return printed(gain.after, gain.factor), printed(gain.before, gain.factor)
    return gain.after.generator if gain.after.role == "control" else "", gain.before.generator


def _amount(gain: Gain) -> str:
    entry = of_score(gain.metric)

    def points(value: float) -> str:
        return number(value * entry.scale, entry.decimals, signed=True)

    named = gain.factor != "generator" or gain.after.role != "control"
    text = f"{points(gain.value)} {f'for {gain.after.generator_label} ' if named else ''}"
    if gain.difference is None:
        return f"{text}(no interval, so nothing can be concluded)"
    ends = f"{points(gain.difference.low)} to {points(gain.difference.high)}"
    return f"{text}({ends}{'' if gain.certain else ', not distinguishable from zero'})"
