"""The table and the page of `power`."""

from harness.planning.plan import make_plan
from harness.report import render
from harness.report.page import render_page
from harness.report.prospects import to_page, to_table
from harness.results.gains import MAIN
from harness.results.projection import needed, prospect
from harness.results.spread import NetworkSpread


def test_the_table_has_a_line_as_planned_and_one_for_each_number_of_images_that_will_do():
    plan = make_plan("controls", "mini")
    known = NetworkSpread(
        segmenter="oneformer",
        backbone="ConvNeXt (mini)",
        data=plan.dataset.key,
        metric=MAIN,
        n_images=100,
        images=4e-5,
        images_freedom=90.0,
        mixed=0.0,
        seeds=1e-6,
        seeds_freedom=16,
    )
    now = {known: prospect(plan, known, effect=0.01, seeds=3)}
    table = to_table(plan, now, {known: needed(plan, known, effect=0.01)}, effect=0.01, chance=0.8)
    texts = [[cell.text for cell in line.cells[:4]] for line in table.lines]
    assert texts == [["ConvNeXt (mini)", "as planned", "3", "100"], ["ConvNeXt (mini)", "for 1.00 AP", "1", "400"]]
    assert (
        "More than 100 seeds are needed with so many images: ConvNeXt (mini): 100; ConvNeXt (mini): 200."
        in table.caption
    )
    assert float(table.lines[1].cells[6].text) >= 80
    assert "1.00 AP takes" in render(table, "markdown")
    html = render_page(to_page(plan, table, [known]))
    assert html.count('class="line s0') == 1
    assert "Half-width of the 95 % interval of a difference, against seeds" in html
