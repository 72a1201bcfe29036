"""The check: verdicts, tolerances, exit codes, baselines, and what CI reads of them."""

import json
import math
from xml.etree import ElementTree

import pytest
from result_rows import difference, measured, run

from harness.core.errors import HarnessError
from harness.report import render
from harness.report.verdicts import describe, sentence, to_annotations, to_junit, to_summary, to_table, to_trend
from harness.results import spread
from harness.results.baselines import BASELINE_FORMAT, Baseline, read_baseline
from harness.results.check import Exit, Verdict, compare, exit_code
from harness.results.rows import Row, SeedResult

TOLERANCE = {"AP": 0.02}


def baseline(*rows: Row, tolerance: dict[str, float] | None = None) -> Baseline:
    return Baseline(
        format=1, suite="table1", profile="mini", reason="first", tolerance=tolerance or TOLERANCE, rows=rows
    )


def row(*aps: float, first: int = 0, **more) -> Row:
    return measured(*(run(first + place, ap=ap) for place, ap in enumerate(aps)), **more)


def kinds(verdicts: list[Verdict]) -> list[str]:
    return [verdict.kind for verdict in verdicts]


def nowhere(run: SeedResult) -> None:
    return None


@pytest.mark.parametrize(
    ("now", "kind", "code"),
    [
        (0.30, "same", Exit.FINE),
        (0.281, "same", Exit.FINE),
        (0.319, "same", Exit.FINE),
        (0.27, "worse", Exit.WORSE),
        (0.33, "better", Exit.FINE),
    ],
)
def test_two_sided_verdicts_by_the_stated_tolerance(now, kind, code):
    verdicts = compare([row(now)], baseline(row(0.30)))
    assert kinds(verdicts) == [kind]
    assert exit_code(verdicts) == code
    assert verdicts[0].decided_by == "stated"


def test_lower_is_better_where_the_metric_says_so():
    before, now = (measured(status="ok", scores={"FID": value}, signature="FID", name="a") for value in (20.0, 30.0))
    assert kinds(compare([now], baseline(before, tolerance={"FID": 1.0}))) == ["worse"]
    assert kinds(compare([before], baseline(now, tolerance={"FID": 1.0}))) == ["better"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": "d1"}, "data differs: 'd0' in the baseline, 'd1' now"),
        ({"signature": "other"}, "metric signature differs"),
        ({"profile": "paper"}, "profile differs"),
        ({"suite": "table2"}, "suite differs"),
        ({"images": 41}, "number of evaluated images differs"),
    ],
)
def test_what_was_measured_otherwise_is_incomparable_and_never_a_number(change, reason):
    verdicts = compare([row(0.1, **change)], baseline(row(0.30)))
    assert kinds(verdicts) == ["incomparable"]
    assert reason in verdicts[0].reason
    assert verdicts[0].tolerance is None
    assert exit_code(verdicts) == Exit.NOT_COMPARED


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "the suite has no such row"),
        ([measured()], "not built"),
        ([measured(SeedResult(seed=0, status="failed", error="x\nOSError: disk"), status="failed")], "OSError: disk"),
        ([measured(SeedResult(seed=0, scores={"PQ": 0.3, "AP": None}))], "no value of AP"),
    ],
)
def test_a_lost_number_is_missing(rows, reason):
    verdicts = compare(rows, baseline(row(0.30)))
    assert kinds(verdicts) == ["missing"]
    assert reason in verdicts[0].reason
    assert exit_code(verdicts) == Exit.NOT_COMPARED


def test_nothing_compared_is_not_fine():
    assert exit_code([]) == Exit.NOT_COMPARED
    assert exit_code(compare([], baseline())) == Exit.NOT_COMPARED
    assert sentence([]) == "nothing was compared"


def test_worse_outranks_missing():
    verdicts = compare([row(0.1)], baseline(row(0.3), row(0.3, backbone="ConvNeXt (mini)")))
    assert kinds(verdicts) == ["worse", "missing"]
    assert exit_code(verdicts) == Exit.WORSE


def test_a_row_the_baseline_does_not_know_asks_to_be_accepted():
    verdicts = compare([row(0.3), row(0.3, backbone="New"), measured(backbone="Unbuilt")], baseline(row(0.3)))
    assert kinds(verdicts) == ["same", "incomparable"]
    assert "accept" in verdicts[1].reason


def test_a_metric_that_never_had_a_value_is_not_compared():
    before = measured(run(ap50=None))
    assert compare([before], baseline(before, tolerance={"AP50": 0.1})) == []


def test_a_score_that_no_installed_metric_describes_is_never_better_or_worse():
    """The package of a plug-in is gone, and with it which way is better."""
    before, now = (measured(status="ok", scores={"gone": value}, signature="gone", name="a") for value in (0.5, 0.9))
    verdicts = compare([now], baseline(before, tolerance={"gone": 0.1}))
    assert kinds(verdicts) == ["incomparable"] and "installed" in verdicts[0].reason


def test_statistics_widen_the_tolerance_and_never_narrow_it():
    def noise(half: float):
        return lambda before, now, metric: difference(-0.04 - half, -0.04 + half)

    rows, old = [row(0.26, first=1)], baseline(row(0.30))
    wide, narrow = compare(rows, old, noise=noise(0.06)), compare(rows, old, noise=noise(0.002))
    assert (wide[0].kind, wide[0].decided_by) == ("same", "resampling")
    assert wide[0].tolerance == pytest.approx(0.06)
    assert (narrow[0].kind, narrow[0].decided_by, narrow[0].tolerance) == ("worse", "stated", 0.02)
    assert narrow[0].interval == pytest.approx((-0.042, -0.038))


def on(machine: str, ap: float) -> Row:
    """A row of one step with a known key, made on a kind of machine."""
    return measured(run(0, ap=ap).model_copy(update={"key": "k" * 16, "machine": machine}))


def test_equal_runs_on_equal_machines_may_not_differ_at_all():
    old = baseline(on("amd", 0.30))
    (verdict,) = compare([on("amd", 0.3001)], old)
    assert (verdict.kind, verdict.decided_by) == ("better", "equal runs")
    assert kinds(compare([on("amd", 0.30 * (1 + 1e-12))], old)) == ["same"]


@pytest.mark.parametrize("machine", ["intel", ""])
def test_another_machine_is_named_and_judged_as_another_run(machine):
    def noise(before, now, metric):
        return difference(-0.03, 0.03)

    (verdict,) = compare([on(machine, 0.31)], baseline(on("amd", 0.30)), noise=noise)
    assert (verdict.kind, verdict.decided_by) == ("same", "resampling")
    assert verdict.reason == f"machines differ: amd in the baseline, {machine or 'not known'} now"
    assert compare([on(machine, 0.30)], baseline(on("amd", 0.30)), noise=noise)[0].reason == ""


def test_where_the_accepted_machine_is_not_known_tolerances_are_the_old_ones():
    (verdict,) = compare([on("amd", 0.31)], baseline(on("", 0.30)))
    assert (verdict.kind, verdict.decided_by, verdict.reason) == ("same", "stated", "")


def test_the_more_is_compared_the_wider_the_interval():
    def noise(before, now, metric):
        return difference(-0.1, 0.1)

    rows = [row(0.3, first=1, backbone=f"B{place}") for place in range(20)]
    old = [row(0.3, backbone=f"B{place}") for place in range(20)]
    alone = compare(rows[:1], baseline(old[0]), noise=noise)[0].tolerance
    together = compare(rows, baseline(*old), noise=noise)[0].tolerance
    assert together > 1.5 * alone


def test_the_spread_over_seeds_widens_the_tolerance():
    old = baseline(row(0.28, 0.30, 0.32), row(0.28, 0.30, 0.32, backbone="B"), tolerance={"AP": 0.001})
    verdicts = compare([row(0.26, 0.28, 0.30, first=5), row(0.08, 0.10, 0.12, backbone="B", first=5)], old)
    assert kinds(verdicts) == ["same", "worse"]
    assert verdicts[0].decided_by == "seeds"


def test_three_thousand_rows_are_judged_by_what_is_learnt_once_for_each_network(monkeypatch):
    """Learning it again for every row took three minutes."""
    learnt = []
    pool = spread.pooled
    monkeypatch.setattr(spread, "pooled", lambda rows, metric: learnt.append(metric) or pool(rows, metric))
    rows = [row(0.3, 0.31, backbone=f"B{place % 5}", name=f"row {place}") for place in range(3000)]
    verdicts = compare(rows, baseline(*rows))
    assert len(verdicts) == 3000 and set(kinds(verdicts)) == {"same"}
    assert len(learnt) == 5


def test_two_seeds_know_their_spread_badly_and_twenty_comparisons_share_the_chance_of_a_false_alarm():
    """One degree of freedom, tail 0.05 / 20 / 2: Student's t is 254.65."""
    backbones = [f"B{place}" for place in range(20)]
    old = baseline(*(row(0.29, 0.31, backbone=name) for name in backbones[:1]), tolerance={"AP": 0.001})
    old = old.model_copy(update={"rows": (*old.rows, *(row(0.3, backbone=name) for name in backbones[1:]))})
    now = [row(0.30, first=7, backbone=name) for name in backbones]
    first = compare(now, old)[0]
    deviation = math.sqrt(0.0002)  # of 0.29 and 0.31
    assert first.decided_by == "seeds"
    assert first.tolerance == pytest.approx(254.6466 * deviation * math.sqrt(1 / 2 + 1))


def test_what_seeds_do_is_learnt_from_other_suites_of_the_same_network_first():
    """One seed a row can't tell what another seed would give: an honest rerun would be an alarm."""
    old, now = baseline(row(0.30), tolerance={"AP": 0.001}), [row(0.28, first=1)]
    steady, loose = row(0.300, 0.301, 0.302), row(0.26, 0.30, 0.34)
    elsewhere = {"backbone": "ConvNeXt (mini)"}
    assert kinds(compare(now, old)) == ["worse"]
    assert kinds(compare(now, old, others=[loose])) == ["same"]
    assert kinds(compare(now, old, others=[steady, row(0.26, 0.30, 0.34, **elsewhere)])) == ["worse"]
    assert kinds(compare(now, old, others=[row(0.26, 0.30, 0.34, **elsewhere)])) == ["same"]
    assert kinds(compare(now, old, others=[loose.model_copy(update={"data": "other"})])) == ["worse"]


def test_the_same_evaluations_are_not_resampled():
    def noise(before, now, metric):
        raise AssertionError("equal keys need no statistics")

    assert kinds(compare([row(0.3)], baseline(row(0.3)), noise=noise)) == ["same"]


@pytest.fixture
def mixed() -> list[Verdict]:
    """One verdict of every kind."""
    old = [row(0.3, backbone=name) for name in ("Same", "Better", "Worse", "Missing", "Other")]
    now = [
        row(0.3, backbone="Same"),
        row(0.4, backbone="Better"),
        row(0.2, backbone="Worse"),
        row(0.3, backbone="Other", data="d1"),
    ]
    return compare(now, baseline(*old), noise=lambda *_: difference(-0.108, -0.092))


def test_the_table_has_the_worst_first_and_every_verdict(mixed):
    text = render(to_table(mixed), "markdown")
    assert [line.cells[-1].value for line in to_table(mixed).lines] == [
        "worse",
        "missing",
        "incomparable",
        "better",
        "same",
    ]
    assert "WORSE: 1 worse, 1 missing, 1 incomparable, 1 better, 1 same" in text


def test_the_summary_holds_what_changed_and_stays_small(mixed):
    text = to_summary(mixed)
    assert "1 more are the same" in text
    assert "none/oneformer/same" not in text
    many = [mixed[2].model_copy(update={"row": f"{'x' * 2000}{place}"}) for place in range(1000)]
    assert len(to_summary(many).encode()) <= 1_000_000
    assert "1000 verdicts" in to_summary(many)


def test_annotations_name_row_numbers_and_interval_and_are_escaped(mixed):
    lines = to_annotations(mixed)
    assert lines[0].startswith("::error title=table1%3A none/oneformer/worse AP::worse: AP 30.00 -> 20.00 (−10.00")
    assert "interval −10.80 to −9.20" in lines[0].replace("%25", "%")
    assert [line.split(" ")[0] for line in lines] == ["::error", "::error", "::warning", "::notice"]
    nasty = mixed[0].model_copy(update={"kind": "missing", "before": None, "reason": "50%\nlost"})
    assert to_annotations([nasty])[0].endswith("missing: 50%25%0Alost")
    assert to_annotations([]) == ["::error title=harness check::nothing was compared"]
    assert len(to_annotations([mixed[2]] * 30)) == 10


def test_junit_has_a_case_per_row_and_metric(mixed):
    root = ElementTree.fromstring(to_junit(mixed, properties={"commit": "0123", "bad": "\x00"}))
    suite = root.find("testsuite")
    assert {key: suite.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "5",
        "failures": "1",
        "errors": "2",
    }
    assert [child.tag for case in suite.iter("testcase") for child in case] == [
        "system-out",
        "failure",
        "error",
        "error",
    ]
    assert suite.find("properties/property").get("value") == "0123"
    assert "30.00 -> 20.00" in suite.find("testcase/failure").get("message")
    assert ElementTree.fromstring(to_junit([])).find("testsuite").get("errors") == "1"


def test_trend_files_have_one_direction_each():
    rows = [row(0.2, 0.3, 0.4), measured(status="ok", scores={"FID": 12.5}, name="q"), measured(backbone="No")]
    files = {name: json.loads(text) for name, text in to_trend(rows, ["AP", "FID", "own"]).items()}
    assert [entry["value"] for entry in files["bigger"]] == [30.0]
    assert files["bigger"][0]["range"] == "± 10"
    assert [(entry["name"], entry["value"]) for entry in files["smaller"]] == [("table1 mini q FID", 12.5)]
    assert set(files["bigger"][0]) == {"name", "unit", "value", "range", "extra"}


def test_descriptions_are_words(mixed):
    assert describe(mixed[3]) == "missing: the suite has no such row"
    assert describe(mixed[0]).startswith("same: AP 30.00 -> 30.00 (0.00, tolerance 2.00 stated")


@pytest.mark.parametrize(
    ("tolerance", "words"),
    [
        ('{"PQ": Infinity}', "Infinity is no finite number"),
        ('{"pq": 0.02}', "'tolerance.pq': no row has this score(.|\n)*PQ"),
        ('{"PQ": 2.0}', "2 is no share below 1"),
        ('{"PQ": -0.1}', "greater than or equal to 0"),
    ],
)
def test_a_slip_in_a_tolerance_is_refused_and_weakens_nothing(tmp_path, tolerance, words):
    path = tmp_path / "b.json"
    row = '{"suite": "table1", "name": "a", "profile": "mini", "method": "M", "scores": {"PQ": 0.5}}'
    path.write_text(
        f'{{"format": {BASELINE_FORMAT}, "suite": "table1", "profile": "mini", "reason": "r", '
        f'"tolerance": {tolerance}, "rows": [{row}]}}'
    )
    with pytest.raises(HarnessError, match=words):
        read_baseline(path)
