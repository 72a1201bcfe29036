"""Renderers: every format of one table, escaping, and the round trips."""

import csv
import io
import json
import shutil
import subprocess

import pytest
from markdown_it import MarkdownIt
from result_rows import MINI, PAPER, measured, quoted, run, suite, table1

from harness.core.errors import HarnessError
from harness.metrics.intervals import Interval
from harness.report import FORMATS, render, table_for
from harness.report.console import lines, to_console
from harness.report.csv_json import from_csv, from_json
from harness.report.latex import to_latex
from harness.report.result_table import Table
from harness.results.rows import Row

NASTY = 'a|b & <script>alert("1")</script> {x} 50% #1 _u_ $m$ \\end ~ ^ [l](http://x)'


def around(row: Row, score: str) -> Interval | None:
    """An interval of every score of the rows with one of the two backbones."""
    value = row.scores.get(score)
    if value is None or row.backbone != "Swin (mini)":
        return None
    ends = {"value": value, "low": value - 0.011, "high": value + 0.012}
    counts = {"n_images": 40, "n_units": 40, "n_seeds": 1, "replicates": 1000, "undefined": 0.0}
    return Interval(metric=score, bias=0.0, std=0.005, sources="images and seeds", **ends, **counts)


@pytest.fixture(params=["mini", "paper", "seeds", "nasty", "intervals", "known intervals"])
def table(request) -> Table:
    if request.param == "intervals":
        return table_for(suite(table={"intervals": True}), MINI, table1(seeds=3), intervals=around)
    if request.param == "known intervals":
        return table_for(suite(), MINI, table1(), intervals=around)
    if request.param == "paper":
        return table_for(suite(), PAPER, table1(profile="paper"))
    if request.param == "seeds":
        return table_for(suite(), MINI, table1(seeds=3))
    if request.param == "nasty":
        rows = [measured(run(ap50=None), method=NASTY, note=NASTY), measured(run(), backbone="B"), *quoted()]
        return table_for(suite(title=NASTY), MINI, rows)
    return table_for(suite(), MINI, table1())


@pytest.fixture
def mini() -> Table:
    return table_for(suite(), MINI, table1())


def test_json_and_csv_read_back_as_the_same_table(table):
    assert from_json(render(table, "json")) == table
    assert from_csv(render(table, "csv")) == table


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_loses_the_warning_or_a_row(mini, form):
    text = render(mini, form)
    assert "NOT COMPARABLE with the paper" in text
    assert "not built" in text
    assert text.count("GLIGEN") >= 2
    assert text.endswith("\n")


@pytest.mark.parametrize(
    ("form", "printed"),
    [
        ("console", "22.50 ± 0.40 (21.40 to 23.70)"),
        ("markdown", "22.50 ± 0.40 (21.40 to 23.70)"),
        ("html", "22.50 ± 0.40 (21.40 to 23.70)"),
        ("latex", r"\num[separate-uncertainty]{22.50 +- 0.40} (\num{21.40} to \num{23.70})"),
        ("csv", "22.5,0.4,21.4,23.7,3,"),
    ],
)
def test_every_format_shows_the_interval_of_a_score_that_has_one(form, printed):
    seeds = [run(seed, ap=ap) for seed, ap in enumerate((0.221, 0.225, 0.229))]
    rows = [measured(*seeds, backbone=name) for name in ("Swin (mini)", "B")]
    shown = table_for(suite(table={"intervals": True}), MINI, rows, intervals=around)
    text = render(shown, form)
    assert printed in text
    assert text.count("21.40" if form != "csv" else ",21.4,") == 1 + (form == "html")  # there in the hover too
    assert "one seed and no row of its kind with several" in text
    known = render(table_for(suite(), MINI, rows, intervals=around), form)
    assert ("23.7" in known) == (form in ("csv", "html"))


def test_json_holds_the_ends_of_an_interval_by_name():
    rows = [measured(run(ap=0.225))]
    cells = json.loads(render(table_for(suite(), MINI, rows, intervals=around), "json"))["lines"][0]["cells"]
    assert {"low": 21.4, "high": 23.7} in [cell["interval"] for cell in cells]


@pytest.mark.parametrize("form", FORMATS)
def test_rendering_is_stable(mini, form):
    assert render(mini, form) == render(from_json(render(mini, "json")), form)


def test_an_unknown_format_names_near_ones(mini):
    with pytest.raises(HarnessError, match="did you mean 'markdown'"):
        render(mini, "markdwon")


def test_csv_holds_numbers_and_only_numbers_in_number_columns(mini):
    records = list(csv.DictReader(io.StringIO(render(mini, "csv"))))
    assert len(records) == 12
    for record in records:
        for key in ("AP", "AP_std", "AP_n", "AP_rank", "AP_difference", "AP_paper", "images_seen"):
            float(record[key] or 0)
        assert (record["profile"], record["comparable"]) == ("mini", "false")
    assert (records[5]["AP"], records[5]["AP_paper"], records[5]["AP_rank"]) == ("26.34", "38.66", "2")
    assert records[0]["AP_status"] == "undefined"
    assert records[6]["AP_status"] == "not built"


@pytest.mark.parametrize(
    ("read", "text", "complaint"),
    [
        (from_json, "{", "not JSON"),
        (from_json, "[1]", "not a table of format"),
        (from_json, '{"format": 1, "titel": ""}', "unknown key|missing"),
        (from_csv, "a,b\n1,2\n", "not a table written as CSV"),
        (from_csv, "", "not a table written as CSV"),
    ],
)
def test_a_file_that_is_no_table_is_one_clear_error(read, text, complaint):
    with pytest.raises(HarnessError, match=complaint):
        read(text)


def test_markdown_renders_as_a_table_whose_cells_are_the_texts(table):
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(render(table, "markdown"))
    assert html.count("<table>") == 1
    assert html.count("<th") == len(table.columns) + 1  # thead itself is counted too
    assert html.count("<tr>") == 1 + len(table.lines) + len(table.blocks())
    assert "<script>" not in html
    assert "<a " not in html


def test_markdown_marks_ranks(mini):
    text = render(mini, "markdown")
    assert "**27.44**" in text
    assert "<ins>26.34</ins>" in text
    assert "*23.20*" in text


def test_html_escapes_and_speaks(table):
    text = render(table, "html")
    assert "<script>" not in text
    folded = {"measured", "published"} == {line.group for line in table.lines}
    parts = text.split("<details><summary>")[: 2 if folded else 1]
    for part, group in zip(parts, ("measured", "published"), strict=False):
        lines = [line for line in table.lines if line.group == group] if folded else table.lines
        said = [
            any(line.cells[i].status not in ("blank", "undefined") for line in lines) for i in range(len(table.columns))
        ]
        assert part.count('scope="col"') == (sum(said) if folded else len(table.columns))
    assert ("<details><summary>" in text) >= folded
    assert "<td" in text


def test_html_says_ranks_in_words_and_hides_nothing_in_colour(mini):
    text = render(mini, "html")
    assert '<span class="first">27.44</span><span class="said"> (best)</span>' in text
    assert "published 25.68" in text
    assert 'class="table incomparable"' in text


def test_console_fits_the_terminal_or_says_what_it_left_out(mini):
    wide = render(mini, "console")
    narrow = to_console(mini, width=90)
    assert "[−2.48]" in wide
    assert "[−2.48]" not in narrow
    assert "this terminal is 90 columns wide" in " ".join(narrow.split())
    assert max(map(len, narrow.splitlines())) <= 90
    assert all("23.20" in text for text in (wide, narrow))


def test_console_colours_only_where_asked(mini):
    assert "\x1b" not in render(mini, "console")
    assert "\x1b[1;31m27.44" in to_console(mini, color=True)
    styled = {span.style for line in lines(mini) for span in line.spans}
    assert {"bold", "underline", "italic"} <= styled


def test_latex_uses_booktabs_siunitx_and_restylable_ranks(mini):
    text = to_latex(mini, label="tab:one")
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:one}"))
    assert r"\providecommand{\firstbest}" in text
    assert r"\firstbest{\num{27.44}}" in text
    assert r"{[}\num[retain-explicit-plus]{-2.48}{]}" in text
    assert "|" not in text.split(r"\begin{tabular}")[1].split("\n")[0]


def test_latex_escapes_what_tex_would_read():
    rows = [measured(run(), method=NASTY), measured(run(), backbone="B")]
    body = render(table_for(suite(), MINI, rows), "latex").split(r"\midrule")[1]
    assert r"\textbar{}b \& \textless{}script\textgreater{}" in body
    assert r"\{x\} 50\% \#1 \_u\_ \$m\$ \textbackslash{}end \textasciitilde{} \textasciicircum{}" in body


def test_latex_keeps_a_first_cell_that_looks_like_an_argument_of_the_line_before():
    rows = [measured(run(), method="[mine]"), measured(run(), backbone="B", method="*star")]
    text = render(table_for(suite(), MINI, rows), "latex")
    assert "\n{}[mine]" in text and "\n{}*star" in text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX is installed")
def test_latex_compiles_in_two_columns_and_fits(table, tmp_path):
    head = r"\documentclass[twocolumn]{article}\usepackage[utf8]{inputenc}\usepackage{booktabs,graphicx,siunitx}"
    text = f"{head}\n\\begin{{document}}\n{render(table, 'latex')}Text.\\end{{document}}\n"
    (tmp_path / "t.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull \\hbox" not in done.stdout


def test_a_table_of_a_hundred_rows_is_rendered_in_every_format():
    rows = [measured(run(seed, ap=0.2 + 0.001 * place), backbone=f"B{place}") for place, seed in enumerate([0] * 100)]
    big = table_for(suite(), MINI, rows)
    assert len(json.loads(render(big, "json"))["lines"]) == 100
    assert all(render(big, form).count("B99") >= 1 for form in FORMATS)
