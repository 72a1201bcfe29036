"""The answer of a report in words: what each gain is made of, with intervals.

Not here: how gains are computed (harness/results/gains.py), the figure beside the words (gather.py).
"""

from collections.abc import Sequence

from harness.core.numbers import number
from harness.report.columns import of_score
from harness.results.gains import SHARES, Gain


def sentences(gains: Sequence[Gain]) -> list[str]:
    """The answer in words: one sentence per group."""
    return [_sentence(group, [g for g in gains if g.group == group]) for group in dict.fromkeys(g.group for g in gains)]


def _sentence(group: str, gains: Sequence[Gain]) -> str:
    shares = []
    for name, minus in dict.fromkeys((name, gain.minus) for name in SHARES for gain in gains if gain.name == name):
        mine = [gain for gain in gains if (gain.name, gain.minus) == (name, minus)]
        shares.append(f"{SHARES[name]} ({minus}) is {', '.join(map(_amount, mine))}")
    unit = of_score(gains[0].metric).label
    return f"{group}, differences in {unit} with 95 % intervals: {'; '.join(shares)}."


def _amount(gain: Gain) -> str:
    entry = of_score(gain.metric)

    def printed(value: float) -> str:
        return number(value * entry.scale, entry.decimals, signed=True)

    text = f"{printed(gain.value)} {f'for {gain.version} ' if gain.version else ''}"
    if gain.interval is None:
        return f"{text}(no interval, so nothing can be concluded)"
    low, high = map(printed, gain.interval)
    return f"{text}({low} to {high}{'' if gain.certain else ', not distinguishable from zero'})"
