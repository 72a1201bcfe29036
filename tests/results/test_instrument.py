"""The instrument: controls whose truth is known are found or not, and a failed one fails the table."""

import pytest
from result_rows import PARTS, difference, measured, run

from harness.generators.base import Control, GeneratorPart, compared_with
from harness.metrics.intervals import Difference
from harness.metrics.power import detectable, half_width
from harness.results.gains import decompose
from harness.results.instrument import Instrument, examine
from harness.results.rows import Row

ORACLE = GeneratorPart(
    label="Oracle",
    adapter="identity",
    role="control",
    control=Control(share="the known gain", minus="none", expects="gain"),
)
KNOWN = PARTS | {"oracle": ORACLE}


def row(generator: str, **change) -> Row:
    part = KNOWN[generator]
    told = {"role": part.role, "compared_with": compared_with(part, KNOWN)}
    told["expects"] = (part.control and part.control.expects) or ""
    made = measured(run(0), run(1), run(2), generator=generator, label=part.label, **told)
    return made.model_copy(update=change)


def examined(rows: list[Row], intervals: dict[str, Difference]) -> Instrument:
    """The instrument when differences to real frames alone have these intervals, by the name of the control."""

    def paired(before: Row, after: Row, metric: str) -> Difference | None:
        return intervals.get(after.generator) if before.generator == "none" else None

    return examine(rows, decompose(rows, paired))


def outcomes(found: Instrument) -> dict[str, str]:
    return {f"{trial.row.generator}: {trial.kind}": trial.outcome for trial in found.trials}


ABOVE, AROUND, BELOW = difference(0.01, 0.03), difference(-0.01, 0.02), difference(-0.03, -0.01)


@pytest.mark.parametrize(
    ("oracle", "duplicate", "expected", "whole"),
    [
        (ABOVE, AROUND, ("passed", "passed"), "passed"),
        (AROUND, AROUND, ("failed", "passed"), "failed"),
        (BELOW, AROUND, ("failed", "passed"), "failed"),
        (ABOVE, ABOVE, ("passed", "failed"), "failed"),
        (ABOVE, BELOW, ("passed", "failed"), "failed"),
        (None, AROUND, ("unknown", "passed"), "unknown"),
        (None, BELOW, ("unknown", "failed"), "failed"),
    ],
)
def test_a_known_gain_must_be_found_and_a_known_null_kept(oracle, duplicate, expected, whole):
    rows = [row("none"), row("duplicate"), row("focus"), row("oracle"), row("gligen")]
    given = {"oracle": oracle, "duplicate": duplicate, "focus": BELOW, "gligen": ABOVE}
    found = examined(rows, {name: one for name, one in given.items() if one})
    assert outcomes(found) == {"duplicate: none": expected[1], "oracle: gain": expected[0]}
    assert found.outcome == whole


def test_controls_without_a_known_truth_decide_nothing():
    found = examined([row("none"), row("focus"), row("gligen")], {"focus": BELOW, "gligen": ABOVE})
    assert (found.trials, found.outcome) == ((), "unknown")


@pytest.mark.parametrize(("score", "outcome"), [(0.004, "passed"), (0.021, "failed")])
def test_labels_of_other_frames_teach_nothing(score, outcome):
    lies = {"labels": "shuffled", "scores": {"AP": score}, "name": "none/shuffled"}
    found = examined([row("none"), row("none", **lies)], {})
    assert outcomes(found) == {"none: nothing learnt": outcome}


def test_a_gain_that_survives_shuffled_labels_is_a_leak():
    lies = {"labels": "shuffled", "scores": {"AP": 0.001}}
    rows = [row("none", name="n", **lies), row("gligen", name="g", **lies)]
    kept, broken = (examined(rows, {"gligen": one}) for one in (AROUND, ABOVE))
    assert outcomes(kept)["gligen: none"] == "passed"
    assert outcomes(broken)["gligen: none"] == "failed"
    assert broken.outcome == "failed"


def test_the_smallest_effect_is_that_of_the_rows_as_they_are():
    found = examined([row("none"), row("duplicate"), row("gligen")], {"duplicate": AROUND, "gligen": AROUND})
    (one,) = found.resolutions
    parts = [AROUND.images, AROUND.seeds]
    assert (one.seeds, one.images) == (3, 40)
    assert one.half_width == pytest.approx(half_width(parts))
    assert one.detectable == pytest.approx(detectable(parts))
    assert one.detectable > one.half_width
