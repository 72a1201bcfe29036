"""Baselines: accepted rows, their statistics, and what may not be accepted."""

import pytest
from result_rows import measured, run, table1

from harness.core.errors import HarnessError
from harness.core.paths import results_folder
from harness.results.baselines import accept, read_baseline, read_baselines, statistics_in, statistics_root
from harness.results.check import Verdict, additions, compare
from harness.results.rows import Row, SeedResult

TOLERANCE = {"AP": 0.02}


def row(*aps: float, first: int = 0, **more) -> Row:
    return measured(*(run(first + place, ap=ap) for place, ap in enumerate(aps)), **more)


def kinds(verdicts: list[Verdict]) -> list[str]:
    return [verdict.kind for verdict in verdicts]


def nowhere(run: SeedResult) -> None:
    return None


def test_accepting_writes_rows_and_statistics_and_reads_back(tmp_path):
    source = tmp_path
    (source / "statistics.npz").write_bytes(b"statistics")
    path = tmp_path / "baselines" / "table1-mini.json"
    rows = table1()
    new = accept(rows, path, reason=" first run ", statistics_of=lambda run: source)
    assert read_baseline(path) == new
    assert new.reason == "first run"
    assert len(new.rows) == 6
    assert set(new.tolerance) == {"PQ", "IoU", "AP", "AP50"}
    assert not any(seed.folder or seed.classes for row in new.rows for seed in row.seeds)
    assert {found.name for found in statistics_root(path).iterdir()} == {row.seeds[0].key for row in new.rows}
    assert (statistics_in(path)(new.rows[0].seeds[0]) / "statistics.npz").read_bytes() == b"statistics"
    assert statistics_in(path)(run(9)) is None
    assert kinds(compare(rows, new)) == ["same"] * 24


def test_accepting_again_keeps_tolerances_shows_changes_and_drops_stale_statistics(tmp_path):
    path = tmp_path / "b.json"
    source = tmp_path
    (source / "statistics.npz").write_bytes(b"s")
    old = accept([row(0.30)], path, reason="one", statistics_of=lambda run: source, tolerance=TOLERANCE)
    new = accept([row(0.20, first=3)], path, reason="two", statistics_of=lambda run: source)
    assert new.tolerance == TOLERANCE
    assert kinds(compare([row(0.20, first=3)], old)) == ["worse"]
    assert kinds(additions(new)) == ["missing"]
    assert [found.name for found in statistics_root(path).iterdir()] == [new.rows[0].seeds[0].key]


def test_baselines_of_a_folder_share_statistics_that_stay_until_none_refers_to_them(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "statistics.npz").write_bytes(b"s")

    def accepted(name: str, *rows: Row) -> set[str]:
        accept(rows, tmp_path / f"{name}.json", reason="why", statistics_of=lambda run: source)
        return {found.name for found in (tmp_path / "statistics").iterdir()}

    shared, own, newer = row(0.30), row(0.31, backbone="B"), row(0.32, backbone="B")
    keys = [found.seeds[0].key for found in (shared, own, newer)]
    assert accepted("table1-mini", shared, own) == {keys[0], keys[1]}
    assert accepted("controls-mini", shared) == {keys[0], keys[1]}
    assert accepted("table1-mini", newer) == {keys[0], keys[2]}
    (tmp_path / "controls-mini.json").write_text(f'{{"format": 7, "of": "{keys[0]}"}}')
    assert accepted("table1-mini", newer) == {keys[0], keys[2]}
    (tmp_path / "controls-mini.json").unlink()
    assert accepted("table1-mini", newer) == {keys[2]}


def test_the_committed_statistics_are_those_of_the_committed_rows():
    folder = results_folder() / "baselines"
    baselines = read_baselines(folder)
    segmented = [row for found in baselines for row in found.rows if "AP" in row.scores]
    runs = {run.key: run for row in segmented for run in row.seeds}
    where = statistics_in(folder / "table1-mini.json")
    assert {found.name for found in (folder / "statistics").iterdir()} == set(runs)
    assert all((where(run) / "statistics.npz").stat().st_size for run in runs.values())


@pytest.mark.parametrize(
    ("rows", "reason", "complaint"),
    [
        ([row(0.3)], "  ", "for a reason"),
        ([], "why", "no measured rows"),
        ([measured()], "why", "no measured rows"),
        ([row(0.3), measured(status="not run", backbone="B")], "why", "can't be accepted: not run"),
    ],
)
def test_what_cannot_be_accepted_leaves_the_baseline_alone(tmp_path, rows, reason, complaint):
    path = tmp_path / "b.json"
    with pytest.raises(HarnessError, match=complaint):
        accept(rows, path, reason=reason, statistics_of=nowhere)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "there is no baseline"),
        ("{", "not a readable baseline"),
        ('{"format": 7}', "of format 2"),
        ('{"format": 2}', "missing"),
    ],
)
def test_a_broken_baseline_is_one_clear_error(tmp_path, text, complaint):
    path = tmp_path / "b.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(HarnessError, match=complaint):
        read_baseline(path)


def test_rows_without_statistics_are_accepted_and_make_no_folder(tmp_path):
    path = tmp_path / "b.json"
    accept([row(0.3)], path, reason="one", statistics_of=nowhere)
    assert not statistics_root(path).exists()
