"""The answer of a report says what each gain is made of, in words and in one figure, and sets image quality against
gain.

Not here: how gains are computed (harness/results/gains.py), whether the table can tell (self_test.py).
"""

from collections.abc import Sequence

from harness.core.numbers import number
from harness.report import figures
from harness.report.columns import of_score
from harness.report.page import Section
from harness.results.gains import MAIN, Gain, printed
from harness.results.rows import Row, finished

ONE_SEED = (
    "Rows of one seed have an interval only where accepted rows of their kind say what another seed would give. "
    "Without one nothing is concluded; give the suite several seeds."
)
QUALITIES = ("CLIPScore", "FID", "SSIM", "PSNR")
"""The paper's four measures of image quality."""


def first(gains: Sequence[Gain], lead: str, verdict: Sequence[str]) -> Section:
    """The first screen: the sentence that answers, the differences that it rests on, the instrument's verdict.

    Controls whose truth is known are in the verdict.
    """
    asked = [gain for gain in gains if gain.factor != "labels" and not gain.after.expects] or gains
    shown = sorted(asked, key=lambda gain: gain.before.role != "baseline")
    return Section(
        anchor="answer", title="The answer", lead=lead, aside=tuple(verdict) if gains else (), figures=_drawn(shown)
    )


def section(gains: Sequence[Gain]) -> Section:
    """Every difference: the sentences, and its interval on one axis."""
    texts = sentences(gains)
    rows = [row for gain in gains for row in (gain.before, gain.after) if gain.difference is None]
    if any(len(finished(row.seeds)) == 1 for row in rows):
        texts.append(ONE_SEED)
    return Section(
        anchor="differences", title="All differences", texts=tuple(texts), figures=_drawn(gains), folded=True
    )


def _drawn(gains: Sequence[Gain]) -> tuple[str, ...]:
    """Differences with their intervals on one axis."""
    whiskers = [
        whisker(gain, label(gain), ", ".join(group))
        for group in dict.fromkeys(gain.group for gain in gains)
        for gain in gains
        if gain.group == group
    ]
    title = f"Differences in {of_score(MAIN).label} with 95 % intervals; hollow: not distinguishable from zero"
    return (figures.whiskers(title, whiskers, unit=f"{MAIN} points"),) if gains else ()


def sentences(gains: Sequence[Gain]) -> list[str]:
    """The answer in words, group by group."""
    groups = dict.fromkeys(gain.group for gain in gains)
    return [_sentences(group, [gain for gain in gains if gain.group == group]) for group in groups]


def label(gain: Gain) -> str:
    """Return what is subtracted from what, for a figure."""
    new, old = sides(gain)
    of = "" if gain.factor == "generator" else f", {gain.after.generator_label}"
    return f"{gain.share}: {new or gain.after.generator_label} − {old}{of}"


def sides(gain: Gain) -> tuple[str, str]:
    """Return what is subtracted from what; the first is empty for a generator that is no control."""
    if gain.factor != "generator":
        return printed(gain.after, gain.factor), printed(gain.before, gain.factor)
    return gain.after.generator if gain.after.role == "control" else "", gain.before.generator


def with_interval(gain: Gain) -> str:
    """The difference in the printed unit, with its interval where there is one."""
    value = _points(gain.metric, gain.value)
    if gain.difference is None:
        return value
    low, high = (_points(gain.metric, end) for end in (gain.difference.low, gain.difference.high))
    return f"{value} ({low} to {high})"


def whisker(gain: Gain, name: str, group: str = "") -> figures.Whisker:
    """The difference for a figure, in the printed unit."""
    scale, found = of_score(gain.metric).scale, gain.difference
    low, high = (found.low * scale, found.high * scale) if found else (None, None)
    return figures.Whisker(name, gain.value * scale, low, high, group)


def quality(gains: Sequence[Gain], rows: Sequence[Row]) -> Section:
    """Image quality against the whole gain, one figure per measure that at least two generators have."""
    whole = [gain for gain in gains if gain.before.role == "baseline" and gain.after.role == "generator"]
    several = len({gain.group for gain in whole}) > 1
    measured = [row for row in rows if row.origin == "measured"]
    pairs = [(row.scores, gain) for row in measured for gain in whole if _source(row) == _source(gain.after)]
    drawn = []
    for metric in dict.fromkeys(name for scores, _ in pairs for name in scores if of_paper(name)):
        points = []
        for scores, gain in pairs:
            score, name = scores.get(metric), gain.after.generator_label
            if score is not None:
                points.append((score, whisker(gain, ", ".join((name, *gain.group)) if several else name)))
        if len({_source(gain.after) for scores, gain in pairs if scores.get(metric) is not None}) > 1:
            drawn.append(figures.scatter(f"{metric} and gain", points, x=metric, y=f"gain, {MAIN} points"))
    return Section(anchor="quality", title="Image quality against gain", figures=tuple(drawn), folded=True)


def _sentences(group: tuple[str, ...], gains: Sequence[Gain]) -> str:
    """Return what is told apart from zero, what is not, and what has no interval."""
    known = [gain for gain in gains if gain.difference]
    parts = (
        ("Distinguishable from zero", [gain for gain in known if gain.certain]),
        ("Not distinguishable from zero", [gain for gain in known if not gain.certain]),
        ("Without an interval, so that nothing can be concluded", [gain for gain in gains if not gain.difference]),
    )
    said = [f"{what}: {_listed(mine)}." for what, mine in parts if mine]
    return f"{', '.join(group)}, differences in {of_score(gains[0].metric).label}, 95 % intervals. {' '.join(said)}"


def _listed(gains: Sequence[Gain]) -> str:
    """Differences share by share."""
    shares: dict[tuple[str, str, str], list[Gain]] = {}
    for gain in gains:
        shares.setdefault((gain.share, *sides(gain)), []).append(gain)
    parts = [
        f"{share} ({new or 'generator'} − {old}) {', '.join(map(_amount, mine))}"
        for (share, new, old), mine in shares.items()
    ]
    return "; ".join(parts)


def _amount(gain: Gain) -> str:
    """The difference, with the generator where the share has several."""
    value, *interval = with_interval(gain).split(" ", 1)
    named = gain.factor != "generator" or gain.after.role != "control"
    return " ".join([value, *([f"for {gain.after.generator_label}"] if named else []), *interval])


def _points(metric: str, value: float) -> str:
    entry = of_score(metric)
    return number(value * entry.scale, entry.decimals, signed=True)


def of_paper(metric: str) -> bool:
    """Return whether it is one of the paper's four as the table has it; FID may carry the name of a network, "FID
    (other)"."""
    plain, _, network = metric.partition(" (")
    return plain in QUALITIES and (not network or network.endswith(")"))


def _source(row: Row) -> tuple[str, str]:
    return row.generator, row.recipe
