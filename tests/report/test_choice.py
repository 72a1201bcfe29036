"""Readers choose lines and their order; ranks and notes stay those of the whole table."""

import pytest
from result_rows import MINI, measured, run, suite

from harness.core.errors import HarnessError
from harness.report import table_for
from harness.report.choice import Chosen, parse_filter

ROWS = [
    measured(run(ap=0.20, pq=0.5)),
    measured(run(ap=0.31, pq=0.4), generator="gligen", method="InstSynth", label="GLIGEN", note="a note"),
    measured(run(ap=0.25, pq=0.6), generator="focus", method="Control", label="Focused crop only"),
    measured(generator="blended", method="InstSynth", label="BlendedDiff"),
]
TABLE = table_for(suite(), MINI, ROWS)


def chosen(*filters, sort=""):
    return Chosen(sort=sort, filters=tuple(map(parse_filter, filters))).of(TABLE)


def names(table):
    return [line.name.split("/")[0] for line in table.lines]


def test_the_best_comes_first_and_what_has_no_number_last():
    assert names(chosen(sort="AP")) == ["gligen", "focus", "none", "blended"]
    assert names(chosen(sort="pq")) == ["focus", "none", "gligen", "blended"]
    assert names(chosen(sort="Version"))[0] == "blended"


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        (("method=insts",), ["gligen", "blended"]),
        (("method!=control",), ["none", "gligen", "blended"]),
        (("AP>20",), ["gligen", "focus"]),
        (("AP>=20",), ["none", "gligen", "focus"]),
        (("AP>20", "PQ<50"), ["gligen"]),
        (("version = focused crop",), ["focus"]),
    ],
)
def test_filters_leave_what_passes_all_of_them(filters, left):
    assert names(chosen(*filters)) == left


def test_ranks_stay_and_notes_of_lost_lines_go():
    ranks = {line.name: [cell.rank for cell in line.cells] for line in TABLE.lines}
    only = chosen("method!=insts", sort="AP")
    assert all([cell.rank for cell in line.cells] == ranks[line.name] for line in only.lines)
    assert "a note" in {note.text for note in TABLE.notes} and "a note" not in {note.text for note in only.notes}


@pytest.mark.parametrize(
    ("filters", "sort", "message"),
    [
        (("AP>x",), "", "'x' is no number"),
        (("AP",), "", "expected COLUMN=TEXT"),
        (("APP>3",), "", "no column 'APP'"),
        ((), "APP", "no column 'APP'.*did you mean 'AP'"),
        (("AP>99",), "", "no row is left"),
    ],
)
def test_what_makes_no_sense_is_told(filters, sort, message):
    with pytest.raises(HarnessError, match=f"(?s){message}"):
        chosen(*filters, sort=sort)
