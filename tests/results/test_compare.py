"""Two sets of rows: paired by name, never across data, with what else differs between them."""

import json
from pathlib import Path

import pytest
from result_rows import difference, measured, run

from harness.core.errors import HarnessError
from harness.core.store import Store
from harness.results.baselines import accept
from harness.results.compare import compare, differences
from harness.results.rows import write_rows
from harness.results.sources import find


def paired(low, high):
    return lambda before, after, metric: difference(low, high, metric)


def no_paired(before, after, metric):
    return None


NONE, FOCUS = measured(run(0, ap=0.2)), measured(run(1, ap=0.3), generator="focus")


def test_two_rows_are_compared_whatever_they_are_called():
    found = {one.metric: one for one in compare([NONE], [FOCUS], paired(0.02, 0.18))}
    one = found["AP"]
    assert (one.before, one.after, one.low, one.high, one.outcome) == (0.2, 0.3, 0.02, 0.18, "better")
    assert one.difference == pytest.approx(0.1) and set(found) == {"AP", "AP50", "PQ", "IoU"}
    assert one.differs["generator"] == ("none", "focus") and one.differs["seeds"] == ("0", "1")


@pytest.mark.parametrize(
    ("ends", "outcome"), [((-0.1, 0.2), "not distinguishable"), ((-0.3, -0.1), "worse"), ((0.1, 0.3), "better")]
)
def test_the_interval_decides(ends, outcome):
    assert {one.outcome for one in compare([NONE], [FOCUS], paired(*ends))} == {outcome}


def test_of_a_metric_that_falls_less_is_better():
    rows = [row.model_copy(update={"scores": {"FID": 3.0}, "seeds": ()}) for row in (NONE, FOCUS)]
    assert [one.outcome for one in compare(rows[:1], rows[1:], paired(-2, -1))] == ["better"]


def test_without_statistics_there_is_a_difference_and_no_interval():
    (one, *_) = compare([NONE], [FOCUS], no_paired)
    assert one.outcome == "no interval" and one.low is None and one.difference is not None


@pytest.mark.parametrize("field", ["data", "signature", "images"])
def test_rows_on_other_data_or_scored_otherwise_are_never_a_number(field):
    other = FOCUS.model_copy(update={field: 7 if field == "images" else "other"})
    (one,) = compare([NONE], [other], paired(0, 1))
    assert one.outcome == "not comparable" and one.difference is None and one.metric == "" and "differs" in one.reason


def test_settings_budget_device_and_commit_are_told_apart():
    other = NONE.model_copy(
        update={
            "settings": {"segmenters.oneformer.training.iterations": "500"},
            "budget": NONE.budget.model_copy(update={"iterations": 500}),
            "cost": NONE.cost.model_copy(update={"gpu_seconds": 4.0}),
            "crop": (64, 64),
            "seeds": (NONE.seeds[0].model_copy(update={"commit": "f" * 12, "key": "1"}),),
        }
    )
    assert differences(NONE, other) == {
        "segmenters.oneformer.training.iterations": ("as in the file", "500"),
        "iterations": ("600", "500"),
        "computed with": ("no GPU", "a GPU"),
        "crop": ("128 × 256", "64 × 64"),
        "commit": ("0123456789ab", "f" * 12),
    }
    assert differences(NONE, NONE) == {}


def test_sets_are_compared_row_by_row():
    first, second = (
        [NONE, FOCUS],
        [FOCUS.model_copy(update={"seeds": (run(4, ap=0.5),), "scores": run(4, ap=0.5).scores})],
    )
    assert {one.first for one in compare(first, second, no_paired)} == {FOCUS.name}
    with pytest.raises(HarnessError, match="no row in common"):
        compare(first, [measured(run(3), generator="recolor"), measured(run(4), generator="oracle")], no_paired)
    with pytest.raises(HarnessError, match=r"unknown metric 'APP'"):
        compare(first, second, no_paired, metrics=["APP"])


def test_the_same_runs_are_not_compared_with_themselves():
    (one,) = compare([NONE], [NONE], paired(-1, 1))
    assert one.outcome == "same runs"


def test_a_row_without_a_result_is_missing():
    (one,) = compare([NONE], [measured(generator="focus")], no_paired)
    assert one.outcome == "missing" and "not built" in one.reason


# where rows come from


def no_plan(suite):
    raise AssertionError(f"no suite is asked for: {suite}")


def statistics(folder: Path, one) -> Path:
    (folder / one.folder).mkdir(parents=True)
    (folder / one.folder / "statistics.npz").write_bytes(b"x")
    return folder / one.folder


def test_rows_come_from_baselines_and_row_files_with_their_statistics(tmp_path):
    store = Store(tmp_path / "store")
    folder = statistics(store.root, NONE.seeds[0])
    accept([NONE], tmp_path / "b.json", reason="r", statistics_of=lambda one: store.root / one.folder)
    baseline = find(str(tmp_path / "b.json"), store, no_plan)
    assert [row.name for row in baseline.rows] == [NONE.name]
    kept = baseline.statistics(baseline.rows[0].seeds[0])
    assert kept == tmp_path / "statistics" / NONE.seeds[0].key
    write_rows(tmp_path / "rows.json", [NONE, FOCUS])
    found = find(f"{tmp_path / 'rows.json'}:{FOCUS.name}", store, no_plan)
    assert [row.name for row in found.rows] == [FOCUS.name] and found.statistics(FOCUS.seeds[0]) is None
    assert find(str(tmp_path / "rows.json"), store, no_plan).statistics(NONE.seeds[0]) == folder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows.json:focus/oneformer/swim", "no row .*did you mean 'focus/oneformer/swin'"),
        ("other.json", "other.json: not a readable file of rows"),
        ("list.json", "neither a baseline nor a file of rows"),
        ("empty.json", "no measured row"),
    ],
)
def test_what_is_not_there_is_told(text, message, tmp_path):
    write_rows(tmp_path / "rows.json", [NONE, FOCUS])
    write_rows(tmp_path / "empty.json", [])
    (tmp_path / "list.json").write_text(json.dumps([1]))
    with pytest.raises(HarnessError, match=rf"(?s){message}"):
        find(str(tmp_path / text), Store(tmp_path), no_plan)
