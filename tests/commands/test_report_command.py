"""`harness report` on evaluated predictions: scores, and intervals where somebody asks for them or computes on."""

import csv
import json
from pathlib import Path

import pytest
from evaluated_store import FOUND, cars, run

from harness.cli import main


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str, list[str]]:
    """The options that name a row of three seeds, and one of a single seed."""
    folder = tmp_path_factory.mktemp("report")
    tree = cars(folder / "tree")
    return {
        "three": run(tree, folder / "three", seeds=range(3), found=FOUND),
        "one": run(tree, folder / "one", seeds=[0], found=FOUND),
    }


def report(capsys, *options: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["report", *options])
    assert not ended.value.code
    return capsys.readouterr().out


def test_intervals_are_printed_where_they_are_asked_for(stores, capsys):
    assert "95 %" not in report(capsys, *stores["three"])
    text = report(capsys, *stores["three"], "--intervals")
    assert "(" in text and " to " in text and "95 % intervals over images and seeds" in text


def test_a_row_of_one_seed_has_the_spread_of_accepted_rows_of_its_kind_or_no_interval(stores, capsys, monkeypatch):
    def row() -> dict[str, str]:
        return next(csv.DictReader(report(capsys, *stores["one"], "--format", "csv").splitlines()))

    known = row()  # rows of three seeds under this profile are accepted in results/baselines
    assert float(known["AP_high"]) - float(known["AP_low"]) > 0
    monkeypatch.setattr("harness.results.baselines.read_baselines", lambda: [])
    alone = row()
    assert alone["AP"] == known["AP"] and not alone["AP_low"]
    text = report(capsys, *stores["one"], "--intervals")
    assert "an interval of images alone would be too narrow" in " ".join(text.split())


def test_files_for_computing_hold_intervals_unasked(stores, capsys):
    row = next(csv.DictReader(report(capsys, *stores["three"], "--format", "csv").splitlines()))
    assert float(row["AP_low"]) < float(row["AP_high"])
    cells = json.loads(report(capsys, *stores["three"], "--format", "json"))["lines"][0]["cells"]
    assert [cell["interval"]["low"] for cell in cells if cell["interval"]][-1] == float(row["AP50_low"])


def test_scores_of_classes_have_intervals_too(stores, capsys):
    row = next(csv.DictReader(report(capsys, *stores["three"], "--table", "classes", "--format", "csv").splitlines()))
    assert float(row["car_low"]) < float(row["car_high"])
    text = report(capsys, *stores["three"], "--table", "classes", "--intervals")
    assert " to " in text


def test_the_html_report_says_intervals_on_hover(stores, capsys, tmp_path):
    page = tmp_path / "report.html"
    report(capsys, *stores["three"], "--format", "html", "--output", str(page))
    assert "95 % interval" in Path(page).read_text()
