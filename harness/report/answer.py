"""The answer of a report says what each gain is made of, in words and in one figure, and sets image quality against
gain.

Not here: how gains are computed (harness/results/gains.py), whether the table can tell (self_test.py).
"""

from collections.abc import Sequence

from harness.core.numbers import number
from harness.report import figures
from harness.report.cells import Intervals
from harness.report.columns import Column, of_score
from harness.report.page import Section
from harness.report.row_names import short_name
from harness.results.gains import MAIN, Gain, printed
from harness.results.rows import Row, finished

ONE_SEED = (
    "Rows of one seed have an interval only where accepted rows of their kind say what another seed would give. "
    "Without one nothing is concluded; give the suite several seeds."
)
QUALITIES = ("CLIPScore", "FID", "SSIM", "PSNR")
"""The paper's four measures of image quality."""


def first(gains: Sequence[Gain], lead: str, verdict: Sequence[str]) -> Section:
    """Build the first section: the sentence that answers, the differences it rests on, the verdict on the instrument.

    Controls whose truth is known are in the verdict.
    """
    asked = [gain for gain in gains if gain.factor != "labels" and not gain.after.expects] or gains
    shown = sorted(asked, key=lambda gain: gain.before.role != "baseline")
    return Section(anchor="answer", title="The answer", lead=lead, aside=tuple(verdict), figures=_drawn(shown))


def looks(rows: Sequence[Row], lead: str) -> Section:
    """Build the first section for image quality: the sentence that answers, and the paper's measures as bars."""
    measured = [row for row in rows if row.origin == "measured" and row.status == "ok"]
    there = [key for row in measured for key, score in row.scores.items() if score is not None and of_paper(key)]
    entries = [of_score(key) for key in dict.fromkeys(there)]
    names = [f"{entry.label} ({'higher' if entry.direction == 'up' else 'lower'} is better)" for entry in entries]
    bars = [
        (row.generator_label or row.method, [_scaled(row.scores.get(entry.key), entry) for entry in entries])
        for row in measured
    ]
    units = [entry.unit for entry in entries]
    drawn = figures.bars("Image quality", names, bars, units=units, decimals=2, common=False) if entries else ""
    return Section(anchor="answer", title="The answer", lead=lead, figures=(drawn,) if drawn else ())


def _scaled(score: float | None, entry: Column) -> float | None:
    return None if score is None else score * entry.scale


def alone(rows: Sequence[Row], intervals: Intervals) -> Section:
    """Build the first section where no row is compared with another: scores with their intervals."""
    entry = of_score(MAIN)
    known = [row for row in rows if row.origin == "measured" and row.scores.get(MAIN) is not None]
    drawn = [
        figures.Whisker(
            f"{row.method}, {short_name(row)}",
            (row.scores[MAIN] or 0.0) * entry.scale,
            *((found.low * entry.scale, found.high * entry.scale) if (found := intervals(row, MAIN)) else (None, None)),
        )
        for row in known
    ]
    if not drawn:
        return Section(anchor="answer", title="The answer")
    best = max(drawn, key=lambda one: one.value)
    within = "" if best.low is None or best.high is None else f" ({number(best.low, 2)} to {number(best.high, 2)})"
    one = "has" if len(drawn) == 1 else "has the most"
    return Section(
        anchor="answer",
        title="The answer",
        lead=f"Cannot tell: no row here is compared with another. {best.label} {one}: "
        f"{number(best.value, 2)} % {MAIN}{within}.",
        figures=(figures.whiskers(f"{MAIN} in %, with 95 % intervals", drawn, unit=f"% {MAIN}", signed=False),),
    )


def section(gains: Sequence[Gain]) -> Section:
    """Return every difference: the sentences, and its interval on one axis."""
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
    title = f"Differences in {MAIN} points, with 95 % intervals; hollow: not distinguishable from zero"
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
    """Return the difference in the printed unit, with its interval where there is one."""
    value = _points(gain.metric, gain.value)
    if gain.difference is None:
        return value
    low, high = (_points(gain.metric, end) for end in (gain.difference.low, gain.difference.high))
    return f"{value} ({low} to {high})"


def whisker(gain: Gain, name: str, group: str = "") -> figures.Whisker:
    """Return the difference for a figure, in the printed unit."""
    scale, found = of_score(gain.metric).scale, gain.difference
    low, high = (found.low * scale, found.high * scale) if found else (None, None)
    return figures.Whisker(name, gain.value * scale, low, high, group)


def quality(gains: Sequence[Gain], rows: Sequence[Row]) -> Section:
    """Return the whole gains once for each measure of image quality that at least two generators have, ordered by
    it."""
    whole = [gain for gain in gains if gain.before.role == "baseline" and gain.after.role == "generator"]
    measured = [row for row in rows if row.origin == "measured"]
    pairs = [(row.scores, gain) for row in measured for gain in whole if _source(row) == _source(gain.after)]
    drawn = []
    for metric in dict.fromkeys(name for scores, _ in pairs for name in scores if of_paper(name)):
        entry = of_score(metric)
        known = [(score, gain) for scores, gain in pairs if (score := scores.get(metric)) is not None]
        known.sort(key=lambda one: one[0], reverse=entry.direction == "up")
        if len({_source(gain.after) for _, gain in known}) > 1:
            items = [
                whisker(gain, f"{gain.after.generator_label}: {metric} {_quality(score, entry)}", ", ".join(group))
                for group in dict.fromkeys(gain.group for gain in whole)
                for score, gain in known
                if gain.group == group
            ]
            drawn.append(figures.whiskers(f"{metric} and gain, the best {metric} first", items, unit=f"{MAIN} points"))
    texts = ("If image quality decided, the gain would fall from line to line.",) if drawn else ()
    return Section(anchor="quality", title="Image quality and gain", texts=texts, figures=tuple(drawn), folded=True)


def _quality(score: float, entry: Column) -> str:
    return " ".join(filter(None, (number(score * entry.scale, entry.decimals), entry.unit)))


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
    """Return the difference, with the generator where the share has several."""
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
