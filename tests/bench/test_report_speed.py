"""Rendering a table of a hundred rows, against writing the same rows as JSON in the same run."""

import json
import timeit

import pytest

from harness.planning.suite import Suite, SuiteRows, load_profile
from harness.report import render, table_for
from harness.results.rows import Row, SeedResult


@pytest.fixture
def table():
    rows = []
    for place in range(100):
        scores = {"PQ": 0.3, "IoU": 0.4, "AP": 0.2 + place / 1000, "AP50": 0.4}
        seed = SeedResult(seed=0, scores=scores)
        rows.append(Row(suite="s", name=str(place), profile="mini", method="M", scores=scores, seeds=(seed,)))
    suite = Suite(title="T", question="Q", rows=[SuiteRows(method="M", generator="none", segmenter="s", backbone="b")])
    return table_for(suite, load_profile("mini"), rows)


@pytest.mark.parametrize("form", ["console", "markdown", "latex", "html", "csv", "json"])
def test_a_hundred_rows(benchmark, bar, table, form):
    text = benchmark(render, table, form)
    assert text.count("M") >= 100
    plain = table.model_dump(mode="json")
    reference = min(timeit.repeat(lambda: json.dumps(plain, indent=1), number=1, repeat=5))
    spent = min(timeit.repeat(lambda: render(table, form), number=1, repeat=5))
    bar("times the cost of writing JSON", spent / reference, most=30)
