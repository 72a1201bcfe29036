"""The Table: order, ranks, differences, states, captions, and that no mini number passes for a reproduction."""

import subprocess
import sys

import pytest
from result_rows import MINI, PAPER, measured, quoted, run, suite, table1

from harness.core.errors import HarnessError
from harness.report import table_for
from harness.report.result_table import Table, signatures
from harness.results.rows import Budget, Row, SeedResult


def column(table: Table, key: str) -> list:
    place = [entry.key for entry in table.columns].index(key)
    return [line.cells[place] for line in table.lines]


def texts(table: Table, key: str) -> list[str]:
    return [cell.text for cell in column(table, key)]


def test_table_1_has_the_shape_of_the_paper():
    table = table_for(suite(), PAPER, table1(profile="paper"))
    assert [entry.heading for entry in table.columns] == [
        *("Method", "Backbone", "Version", "Crop size"),
        *(head for score in ("PQ", "IoU", "AP", "AP50") for head in (f"{score} ↑", "Δ paper (paper)")),
        "Images seen",
    ]
    assert texts(table, "method")[:4] == ["CMT-DeepLab", "Axial-DeepLab-L", "Axial-DeepLab-XL", "Panoptic-DeepLab"]
    assert texts(table, "AP")[:6] == ["–", "35.80", "36.70", "40.10", "22.10", "26.34"]
    assert texts(table, "crop")[0] == "1025 × 2049"
    assert texts(table, "images_seen")[4] == "2,400"


def test_published_rows_stand_apart_and_above_whatever_their_place():
    table = table_for(suite(), MINI, [*table1()[4:], *quoted()])
    (printed, above), (ours, below) = table.blocks()
    assert "not measured here" in printed
    assert "profile mini" in ours
    assert sum(map(len, above)) == 4
    assert {line.notes for section in above for line in section} == {("†",)}
    assert sum(map(len, below)) == 8


def test_only_measured_rows_that_are_no_control_are_ranked():
    table = table_for(suite(), MINI, table1())
    ranks = [cell.rank for cell in column(table, "AP")]
    assert ranks[:4] == [None] * 4
    assert ranks[4:] == [None, 2, None, None, 3, 1, None, None]


def test_ties_on_the_printed_digits_share_a_rank():
    rows = [
        measured(run(ap=ap), backbone=name) for name, ap in (("A", 0.30004), ("B", 0.29996), ("C", 0.2), ("D", 0.1))
    ]
    assert [cell.rank for cell in column(table_for(suite(), MINI, rows), "AP")] == [1, 1, 3, None]


def test_lower_is_better_where_the_column_says_so():
    given = {"columns": ["method", "FID"], "marks": "best"}
    rows = [
        measured(method=name, status="ok", scores={"FID": value})
        for name, value in (("A", 20.0), ("B", 10.0), ("C", 15.0))
    ]
    table = table_for(suite(table=given), MINI, rows)
    assert [cell.rank for cell in column(table, "FID")] == [None, 1, None]
    assert table.columns[1].heading == "FID ↓"
    assert any("best: bold" in text for text in table.caption)


def test_a_single_measured_row_is_not_best_of_anything():
    table = table_for(suite(), MINI, [*quoted(), measured(run())])
    assert [cell.rank for cell in column(table, "AP")] == [None] * 5
    assert not any("Marked" in text for text in table.caption)


def test_seeds_give_mean_and_sample_deviation():
    table = table_for(suite(), MINI, table1(seeds=3))
    assert texts(table, "AP")[4] == "22.50 ± 0.40"
    assert any("over seeds 0, 1, 2" in text for text in table.caption)
    assert column(table, "AP")[4].n == 3


def test_a_difference_to_the_paper_is_bracketed_unless_the_profile_is_the_papers():
    mini = table_for(suite(), MINI, table1())
    paper = table_for(suite(), PAPER, table1(profile="paper"))
    assert texts(mini, "AP_difference")[4:6] == ["[+0.35] (21.75)", "[−12.32] (38.66)"]
    assert texts(paper, "AP_difference")[4:6] == ["+0.35 (21.75)", "−12.32 (38.66)"]
    assert column(mini, "AP_difference")[4].reference == 21.75
    assert texts(mini, "AP_difference")[7] == ""
    assert texts(mini, "AP_difference")[:4] == [""] * 4


def test_a_mini_table_says_in_title_caption_and_heading_that_it_reproduces_nothing():
    table = table_for(suite(), MINI, table1())
    assert "not comparable with the paper" in table.title
    assert any(text.startswith("NOT COMPARABLE with the paper") for text in table.caption)
    assert table.groups["measured"] == "Measured here, profile mini"
    paper = table_for(suite(), PAPER, table1(profile="paper"))
    assert "comparable" not in paper.title + "".join(paper.caption)


def test_a_profile_may_be_printed_otherwise_than_its_file_is_called():
    printed = MINI.model_copy(update={"label": "Mini, ours"}).called("mini")
    assert table_for(suite(), printed, [measured(run())]).groups["measured"] == "Measured here, profile Mini, ours"


def test_rows_of_two_profiles_never_share_a_table():
    rows = [measured(run()), measured(run(), profile="paper", backbone="X")]
    with pytest.raises(HarnessError, match="profile 'paper' can't stand in a table of profile 'mini'"):
        table_for(suite(), MINI, rows)


def test_failed_missing_not_run_and_not_built_are_told_apart_and_footnoted():
    failed = SeedResult(seed=0, status="failed", error="Traceback ...\nValueError: the loss is not finite")
    bare = SeedResult(seed=0, scores={"AP": 0.2, "AP50": None})
    rows = [
        measured(run(), backbone="A"),
        measured(backbone="B"),
        measured(failed, backbone="C", status="failed"),
        measured(SeedResult(seed=0, status="not run"), backbone="D", status="not run"),
        measured(bare, backbone="E"),
    ]
    table = table_for(suite(), MINI, rows)
    assert texts(table, "PQ") == ["30.00", "not built", "failed", "not run", "missing"]
    assert texts(table, "AP50")[4] == "–"
    notes = " ".join(note.text for note in table.notes)
    assert all(f"{status}:" in notes for status in ("not built", "failed", "not run", "missing", "–"))
    assert "ValueError: the loss is not finite" in notes
    assert table.lines[2].notes == ("a",)


def test_what_only_printed_rows_can_have_is_a_dash_in_measured_ones():
    poster = {"key": "FID_poster", "label": "FID (poster)", "direction": "down", "published_only": True}
    printed = Row(
        suite="published", name="p", profile="published", method="P", origin="published", scores={"FID_poster": 125.51}
    )
    rows = [printed, measured(method="M", status="ok", scores={"FID": 20.0})]
    table = table_for(suite(table={"columns": ["method", poster]}), MINI, rows)
    assert texts(table, "FID_poster") == ["125.51", "–"]
    assert not any("missing" in note.text for note in table.notes)


def test_notes_get_letters_and_equal_texts_one_letter():
    rows = [measured(run(), backbone=name, note=note) for name, note in (("A", "x"), ("B", "y"), ("C", "x"))]
    table = table_for(suite(), MINI, rows)
    assert [line.notes for line in table.lines] == [("a",), ("b",), ("a",)]
    assert [(note.mark, note.text) for note in table.notes] == [("a", "x"), ("b", "y")]


def test_budgets_that_differ_are_called_out():
    rows = [measured(run(), backbone="A"), measured(run(), backbone="B", budget=Budget(iterations=900, batch_size=4))]
    assert any("DIFFER" in text for text in table_for(suite(), MINI, rows).caption)


def test_caption_has_budget_seeds_n_and_signature():
    text = " ".join(table_for(suite(), MINI, table1()).said)
    assert "600 iterations of 4 images, 2,400 images seen" in text
    assert "Seed 0." in text
    assert "n = 40 images." in text
    assert "Signature: AP,AP50,IoU,PQ: Cityscapes definition." in text


def test_each_part_of_the_signatures_is_printed_once_and_what_differs_stands_apart():
    signed = ["SSIM|n:12 + PSNR|n:12", "SSIM|n:12 + PSNR|n:0", "SSIM|n:12 + PSNR|n:12", ""]
    rows = [measured(run(), backbone=str(place), signature=text) for place, text in enumerate(signed)]
    said = list(table_for(suite(), MINI, rows).signatures)
    assert said == ["Signature: SSIM|n:12.", "Signatures of some rows only: PSNR|n:12 + PSNR|n:0."]
    assert list(signatures(rows[::2])) == ["Signature: SSIM|n:12 + PSNR|n:12."]
    assert list(signatures(rows[3:])) == []


def test_a_new_metric_and_a_new_table_are_one_toml():
    column = {"key": "Mine", "label": "My metric", "direction": "down", "decimals": 1}
    rows = [measured(method=name, status="ok", scores={"Mine": value}) for name, value in (("A", 2.04), ("B", 1.0))]
    table = table_for(suite(table={"columns": ["method", column]}), MINI, rows)
    assert table.columns[1].heading == "My metric ↓"
    assert [(line.cells[1].text, line.cells[1].rank) for line in table.lines] == [("2.0", 2), ("1.0", 1)]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"columns": ["method", "A P"]}, r"unknown column 'A P'"),
        ({"colums": ["method"]}, r"unknown key 'colums'.*\n.*'columns'"),
        ({"marks": "two"}, r"key 'marks'"),
    ],
)
def test_a_wrong_table_definition_is_one_error(given, complaint):
    with pytest.raises(HarnessError, match=complaint):
        table_for(suite(table=given), MINI, [measured(run())])


def test_reports_import_nothing_slow():
    code = (
        "import sys, harness.report, harness.report.result_table, harness.report.markdown, harness.report.latex, "
        "harness.report.html, harness.report.csv_json, harness.report.console, harness.results.check\n"
        "slow = {'torch', 'numpy', 'scipy', 'pandas', 'jinja2', 'transformers', 'harness.stages'}\n"
        "slow |= {'harness.running.scheduler'}\n"
        "sys.exit(', '.join(sorted(slow & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
