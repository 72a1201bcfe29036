"""The first page says whether the table can tell, above any answer."""

from result_rows import MINI, difference, measured, run, suite

from harness.metrics.intervals import Difference
from harness.report.page import Page, render_page
from harness.report.self_test import NO_CONTROL, power, section, verdict, warning
from harness.results.gains import decompose
from harness.results.instrument import Instrument, examine
from harness.results.rows import Row

ROWS = [measured(*map(run, range(3)), generator=name) for name in ("none", "duplicate", "focus")]
LIES = {"labels": "shuffled", "scores": {"AP": 0.3}, "name": "none/shuffled"}
SHUFFLED = measured(*map(run, range(3))).model_copy(update=LIES)


def examined(rows: list[Row], low: float, high: float) -> Instrument:
    def paired(before: Row, after: Row, metric: str) -> Difference:
        return difference(low, high)

    return examine(rows, decompose(rows, paired))


def test_the_verdict_names_each_control_and_the_smallest_effect():
    found = examined(ROWS, -0.01, 0.02)
    controls, effect = verdict(found)
    assert controls == (
        "The instrument: duplicate's null kept (Swin (mini)). Not tested by this table: a known gain, shuffled labels."
    )
    assert effect.startswith("Swin (mini): the smallest detectable effect is 2.")
    assert effect.endswith("for two rows of 3 seeds and 40 images each.")
    assert warning(found) == ""


def test_a_table_that_fails_its_controls_says_so_above_any_answer():
    found = examined([*ROWS, SHUFFLED], 0.01, 0.02)
    text = warning(found)
    assert text.startswith("The instrument fails its controls: duplicate's null BROKEN (Swin (mini)), ")
    assert "with shuffled labels on none: something LEARNT" in text
    shown = section(found, MINI)
    page = {"title": suite().title, "question": "Q?", "profile": "mini", "caption": "c", "comparable": False}
    html = render_page(Page(sections=(shown,), warning=text, **page))
    assert html.index('role="alert"') < html.index('id="instrument"')
    assert "Conclude nothing from the differences below." in html


def test_the_controls_stand_in_a_table_with_truth_measured_value_and_outcome():
    (table,) = section(examined([*ROWS, SHUFFLED], -0.01, 0.02), MINI).tables
    null = "duplicate − none: 0.00 (−1.00 to +2.00)"
    assert [[cell.text for cell in line.cells] for line in table.lines] == [
        ["Original", "Swin (mini)", "no difference", null, "null kept"],
        ["Original", "Swin (mini)", "AP below 2", "30.00 AP", "something LEARNT"],
    ]


def test_a_table_without_known_truths_says_that_it_has_none():
    rows = [row for row in ROWS if row.generator != "duplicate"]
    assert verdict(examined(rows, -0.01, 0.02))[0] == NO_CONTROL
    assert section(examine([], []), MINI).empty


def test_more_seeds_are_drawn_as_a_falling_half_width():
    (figure,) = power(examined(ROWS, -0.01, 0.02)).figures
    path = figure.split('class="line s0" d="')[1].split('"')[0]
    heights = [float(point.split()[1]) for point in path[1:].split("L")]
    assert len(heights) == 12
    assert heights == sorted(heights)  # pixels count from the top
