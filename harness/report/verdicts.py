"""Verdicts of a check are written for people and for CI: a table, JUnit XML, a GitHub step summary and annotations,
trend files.

All are pure: verdicts in, text out. GitHub cuts a step summary at 1 MiB and shows ten annotations of a kind, so both
hold counts and what changed, never everything.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

from harness.core.numbers import number
from harness.report.cells import Cell
from harness.report.columns import Column, of_score
from harness.report.markdown import to_markdown
from harness.report.result_table import Line, Note, Table
from harness.results.check import Exit, Kind, Verdict, exit_code
from harness.results.rows import Row

ORDER: tuple[Kind, ...] = ("worse", "missing", "incomparable", "better", "same")
SUMMARY_LIMIT = 1_000_000
ANNOTATIONS = 10
COLUMNS = (
    Column(key="row", label="Row", kind="text"),
    Column(key="metric", label="Metric", kind="text"),
    Column(key="before", label="Baseline"),
    Column(key="now", label="Now"),
    Column(key="difference", label="Difference"),
    Column(key="interval", label="95 % interval", kind="text"),
    Column(key="tolerance", label="Tolerance"),
    Column(key="verdict", label="Verdict", kind="text"),
)


def sentence(verdicts: Sequence[Verdict]) -> str:
    """Return the whole check in one line."""
    if not verdicts:
        return "nothing was compared"
    counts = Counter(verdict.kind for verdict in verdicts)
    listed = ", ".join(f"{counts[kind]} {kind}" for kind in ORDER if counts[kind])
    ends = {Exit.FINE: "fine", Exit.WORSE: "WORSE", Exit.NOT_COMPARED: "NOT COMPARED in full"}
    return f"{ends[exit_code(verdicts)]}: {listed}"


def to_table(verdicts: Sequence[Verdict], *, everything: bool = True) -> Table:
    """Verdicts as a table, the worst first; without `everything`, only what is not the same."""
    shown = [verdict for verdict in verdicts if everything or verdict.kind != "same"]
    lines = [_line(verdict) for verdict in sorted(shown, key=lambda verdict: ORDER.index(verdict.kind))]
    title = f"Check of {verdicts[0].suite}" if verdicts else "Check"
    return Table(
        title=title,
        profile="",
        comparable=True,
        caption=(
            f"{sentence(verdicts)}.",
            "Tolerance: the largest of stated, resampling (paired bootstrap) and seeds.",
        ),
        columns=COLUMNS,
        lines=tuple(lines),
        notes=(Note(mark="", text=f"{len(verdicts) - len(shown)} more are the same"),)
        if len(shown) < len(verdicts)
        else (),
        marks="none",
    )


def to_summary(verdicts: Sequence[Verdict]) -> str:
    """Markdown for $GITHUB_STEP_SUMMARY: counts and the cells that changed."""
    text = to_markdown(to_table(verdicts, everything=False))
    if len(text.encode()) <= SUMMARY_LIMIT:
        return text
    shown = verdicts[: len(verdicts) // 2]
    return f"{to_summary(shown)}\nCut to the first {len(shown)} of {len(verdicts)} verdicts: {sentence(verdicts)}.\n"


def to_annotations(verdicts: Sequence[Verdict]) -> list[str]:
    """Workflow commands that GitHub shows beside a pull request: errors for worse and lost, a notice for better."""
    commands = {"worse": "error", "missing": "error", "incomparable": "warning", "better": "notice"}
    found = [verdict for kind in ORDER for verdict in verdicts if verdict.kind == kind and kind in commands]
    if not verdicts:
        return ["::error title=harness check::nothing was compared"]
    return [
        f"::{commands[verdict.kind]} title={_escaped(_name(verdict), property_=True)}::{_escaped(describe(verdict))}"
        for verdict in found[:ANNOTATIONS]
    ]


def to_junit(verdicts: Sequence[Verdict], *, properties: dict[str, str] | None = None) -> str:
    """JUnit XML: a test case per row and metric; worse is a failure, missing and incomparable are errors."""
    suites = list(dict.fromkeys(verdict.suite for verdict in verdicts)) or ["nothing"]
    root = ElementTree.Element("testsuites", name="harness check")
    for suite in suites:
        _junit_suite(root, suite, [verdict for verdict in verdicts if verdict.suite == suite], properties or {})
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def to_trend(rows: Iterable[Row], metrics: Sequence[str]) -> dict[str, str]:
    """Return files for trend tools: {"bigger": ..., "smaller": ...} in github-action-benchmark's custom formats.

    One direction a file: customBiggerIsBetter and customSmallerIsBetter, lists of {name, unit, value, range, extra}.
    """
    entries: dict[str, list[dict[str, object]]] = {"bigger": [], "smaller": []}
    for row in (row for row in rows if row.origin == "measured" and row.status == "ok"):
        for entry in (entry for entry in map(of_score, metrics) if entry.direction):
            found = row.measurement(entry.key)
            if found.mean is None:
                continue
            record: dict[str, object] = {
                "name": f"{row.suite} {row.profile} {row.name} {entry.key}",
                "unit": entry.unit,
            }
            record["value"] = round(found.mean * entry.scale, 6)
            if found.std is not None:
                record["range"] = f"± {found.std * entry.scale:.6g}"
            record["extra"] = f"n = {row.images} images, seeds: {found.n}\n{row.signature}"
            entries["bigger" if entry.direction == "up" else "smaller"].append(record)
    return {name: json.dumps(listed, indent=1, ensure_ascii=False) + "\n" for name, listed in entries.items()}


def describe(verdict: Verdict) -> str:
    """Return one verdict in words, with interval and tolerance."""
    old, new, allowed = verdict.before, verdict.now, verdict.tolerance
    if old is None or new is None or allowed is None:
        return f"{verdict.kind}: {verdict.reason}"
    entry = of_score(verdict.metric)
    before, now, tolerance = (number(value * entry.scale, entry.decimals) for value in (old, new, allowed))
    difference = number((new - old) * entry.scale, entry.decimals, signed=True)
    text = f"{verdict.kind}: {entry.label} {before} -> {now} ({difference}, tolerance {tolerance} {verdict.decided_by}"
    return f"{text}{f', 95 % interval {_interval(verdict, entry)}' if verdict.interval else ''})"


def _line(verdict: Verdict) -> Line:
    entry = of_score(verdict.metric)
    tolerance = _value(verdict.tolerance, entry)
    if verdict.decided_by and tolerance.value is not None:
        tolerance = tolerance.model_copy(update={"text": f"{tolerance.text} {verdict.decided_by}"})
    return Line(
        name=f"{verdict.row} {verdict.metric}",
        group="measured",
        section=verdict.kind,
        cells=(
            Cell(value=verdict.row, text=verdict.row),
            Cell(value=verdict.metric, text=entry.label),
            _value(verdict.before, entry),
            _value(verdict.now, entry),
            _value(verdict.difference, entry, signed=True),
            Cell(value=_interval(verdict, entry), text=_interval(verdict, entry)),
            tolerance,
            Cell(value=verdict.kind, text=f"{verdict.kind}: {verdict.reason}" if verdict.reason else verdict.kind),
        ),
        provenance=describe(verdict),
    )


def _value(value: float | None, entry: Column, *, signed: bool = False) -> Cell:
    if value is None:
        return Cell(status="blank")
    value = round(value * entry.scale, 10)
    return Cell(value=value, n=1, text=number(value, entry.decimals, signed=signed))


def _interval(verdict: Verdict, entry: Column) -> str:
    if verdict.interval is None:
        return ""
    return " to ".join(number(end * entry.scale, entry.decimals, signed=True) for end in verdict.interval)


def _junit_suite(root: ElementTree.Element, name: str, verdicts: list[Verdict], properties: dict[str, str]) -> None:
    counts = Counter(verdict.kind for verdict in verdicts)
    lost = counts["missing"] + counts["incomparable"]
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=_clean(name),
        tests=str(len(verdicts) or 1),
        failures=str(counts["worse"]),
        errors=str(lost if verdicts else 1),
        skipped="0",
    )
    box = ElementTree.SubElement(suite, "properties")
    for key, value in properties.items():
        ElementTree.SubElement(box, "property", name=_clean(key), value=_clean(value))
    if not verdicts:
        case = ElementTree.SubElement(suite, "testcase", classname="harness", name="anything")
        ElementTree.SubElement(case, "error", message="nothing was compared")
    for verdict in verdicts:
        case = ElementTree.SubElement(suite, "testcase", classname=_clean(verdict.row), name=verdict.metric or "row")
        if verdict.kind != "same":
            kind = {"worse": "failure", "better": "system-out"}.get(verdict.kind, "error")
            found = ElementTree.SubElement(case, kind)
            if kind == "system-out":
                found.text = _clean(describe(verdict))
            else:
                found.set("message", _clean(describe(verdict)))


def _name(verdict: Verdict) -> str:
    return f"{verdict.suite}: {verdict.row} {verdict.metric}".strip()


def _clean(text: str) -> str:
    """Without the control characters that XML 1.0 can't hold."""
    return "".join(sign if sign >= " " or sign in "\t\n" else " " for sign in text)


def _escaped(text: str, *, property_: bool = False) -> str:
    """Text in a GitHub workflow command."""
    signs = {"%": "%25", "\r": "%0D", "\n": "%0A", **({":": "%3A", ",": "%2C"} if property_ else {})}
    return "".join(signs.get(sign, sign) for sign in text)
