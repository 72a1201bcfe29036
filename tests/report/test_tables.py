"""Reproduction, per-class, cost and instance tables, and the leaderboard."""

import numpy as np
import pytest
from result_rows import MINI, PAPER, measured, quoted, run, suite, table1

from harness.core.paths import results_folder
from harness.data.cityscapes import CITYSCAPES
from harness.data.tree import Tree
from harness.report import FORMATS, TABLES, named_table, render
from harness.report.csv_json import from_json
from harness.report.leaderboard import is_current, leaderboard, write
from harness.report.tables import class_table, cost_table, count_instances, instance_table, reproduction_table
from harness.results.baselines import Baseline, accept, read_baselines
from harness.results.published import published_facts, published_row
from harness.results.rows import Budget, Cost

THINGS = [label.name for label in CITYSCAPES.things]


def verdicts(table) -> list[str]:
    return [line.cells[-1].text for line in table.lines]


def test_reproduction_says_within_above_below_per_metric():
    printed = published_row("table1/oneformer/swin-l/original").scores
    scores = run(ap=printed["AP"] + 0.009, pq=printed["PQ"] - 0.02, iou=printed["IoU"] + 0.02, ap50=printed["AP50"])
    row = measured(scores, twin="table1/oneformer/swin-l/original", profile="paper")
    table = reproduction_table([*quoted(), row], PAPER)
    assert [line.cells[3].text for line in table.lines] == ["PQ", "IoU", "AP", "AP50"]
    assert verdicts(table) == ["below", "above", "within", "within"]
    assert table.lines[2].cells[6].text == "+0.90"


def test_nothing_is_reproduced_under_mini_however_close_it_is():
    printed = published_row("table1/oneformer/swin-l/original").scores
    row = measured(run(ap=printed["AP"]), twin="table1/oneformer/swin-l/original")
    table = reproduction_table([row], MINI)
    assert set(verdicts(table)) == {"not comparable"}
    assert table.lines[2].cells[6].text == "[0.00]"
    assert "nothing here is a reproduction" in render(table, "markdown")


def test_an_unbuilt_row_is_in_the_reproduction_table_too():
    row = measured(twin="table1/instsynth/swin-l/gligen", profile="paper")
    table = reproduction_table([row], PAPER)
    assert set(verdicts(table)) == {"not measured"}
    assert table.lines[0].cells[4].text == "not built"


def test_classes_have_their_instance_counts_and_undefined_ones_a_dash():
    table = class_table(table1(), MINI, metric="AP", things=THINGS)
    assert [entry.label for entry in table.columns[3:]] == ["car (120)", "train (0)"]
    assert [cell.text for cell in table.lines[0].cells[3:]] == ["32.1", "–"]
    assert [cell.text for cell in table.lines[2].cells[3:]] == ["not built", "not built"]
    assert table.lines[5].cells[3].rank == 1


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_a_name(name):
    table = named_table(name, suite(), MINI, table1(), things=THINGS)
    assert table.lines
    assert "car (120)" in render(table, "markdown") or name != "classes"


def test_classes_without_a_result_say_so():
    table = class_table([measured(status="not run")], MINI, metric="AP", things=THINGS)
    assert len(table.columns) == 3 + 8
    assert {cell.text for cell in table.lines[0].cells[3:]} == {"not run"}


def test_gpu_time_is_shown_where_a_gpu_was_used():
    rows = [row.model_copy(update={"cost": Cost(seconds=9.0, gpu_seconds=7.0)}) for row in table1()]
    assert "GPU time" in [entry.label for entry in cost_table(rows, MINI).columns]
    assert "GPU time" not in [entry.label for entry in cost_table(table1(), MINI).columns]


def test_costs_are_listed():
    table = cost_table(table1(), MINI)
    assert [cell.text for cell in table.lines[0].cells[3:]] == ["96", "0", "2,400", "1", "151", "1,400"]
    assert len(table.lines) == 8


def test_instances_stand_beside_the_papers():
    printed = published_facts().is_cityscapes
    original, augmented = {"car": 10, "person": 5, "train": 0}, {"car": 45, "person": 20, "train": 0}
    table = instance_table(original, augmented, printed, MINI)
    texts = {line.name: [cell.text for cell in line.cells[1:]] for line in table.lines}
    assert texts["car"] == ["10", "45", "4.50", "26,963", "118,609", "4.40"]
    assert texts["train"] == ["0", "0", "", "168", "789", "4.70"]
    assert texts["total"] == ["15", "65", "4.33", "52,106", "217,035", "4.17"]


def test_instances_of_a_tree_are_counted_by_id(tmp_path):

    ids = np.zeros((8, 8), np.int32)
    ids[0, 0], ids[1, 1], ids[2, :3], ids[3, 3], ids[4, 4], ids[5, 5] = 26000, 26001, 24007, 26, 29000, 32000
    image = np.zeros((8, 8, 3), np.uint8)
    for name in ("city_000000_000019", "city_000001_000019"):
        Tree(tmp_path).write_frame("train", "city", name, image, ids)
    counts = count_instances(Tree(tmp_path), "train")
    assert {name: count for name, count in counts.items() if count} == {"car": 4, "person": 2, "motorcycle": 2}


@pytest.mark.parametrize("form", FORMATS)
def test_every_table_prints_in_every_format(form):
    printed = published_facts().is_cityscapes
    for table in (
        reproduction_table(table1(), MINI),
        class_table(table1(), MINI, metric="AP", things=THINGS),
        cost_table(table1(), MINI),
        instance_table({"car": 1}, {"car": 2}, printed, MINI),
    ):
        assert render(table, form)
        assert from_json(render(table, "json")) == table


def baseline(*, comparable: bool = False, **more) -> Baseline:
    rows = tuple(row for row in table1(**more) if row.origin == "measured" and row.status == "ok")
    told = {"suite": "table1", "profile": rows[0].profile, "reason": "first run", "comparable": comparable}
    return Baseline(format=1, tolerance={}, rows=rows, **told)


def test_the_leaderboard_is_byte_stable_and_ranks_within_one_baseline():
    text = leaderboard([baseline(), baseline(profile="paper", comparable=True)])
    assert text == leaderboard([baseline(profile="paper", comparable=True), baseline()])
    assert "profile mini (not comparable with published numbers)" in text
    assert "## table1, profile paper\n" in text
    first = next(line for line in text.splitlines() if line.startswith("| 1 |"))
    assert "DiffInpainting | Swin (mini) | 33.00 | 45.00 | 27.44" in first


def test_controls_stand_in_the_leaderboard_without_a_rank():
    lines = [line for line in leaderboard([baseline()]).splitlines() if "(mini) |" in line]
    assert [line.split("|")[1:4] for line in lines] == [
        [" 1 ", " InstSynth ", " DiffInpainting "],
        [" – ", " Control ", " Focused crop only "],
        [" 2 ", " InstSynth ", " DiffInpainting "],
        [" – ", " Control ", " Focused crop only "],
        [" 3 ", " OneFormer ", " Original "],
        [" 4 ", " OneFormer ", " Original "],
    ]


def test_the_leaderboard_shows_image_quality_in_the_order_of_the_suite_and_ranks_nobody():
    scores = ({"CLIPScore": 0.6, "SSIM": 0.5, "PSNR": 16.0}, {"CLIPScore": 1.0, "SSIM": 1.0, "PSNR": None})
    rows = tuple(
        measured(method=name).model_copy(update={"backbone": "", "scores": found, "status": "ok", "budget": Budget()})
        for name, found in zip(("GLIGEN", "Control"), scores, strict=True)
    )
    text = leaderboard([Baseline(format=1, suite="ablation", profile="mini", reason="r", tolerance={}, rows=rows)])
    head, _, gligen, control = (line for line in text.splitlines() if line.startswith("|"))
    assert head.startswith("| Method | Version | CLIPScore | SSIM | PSNR | Seeds |")
    assert gligen.startswith("| GLIGEN | Original | 0.60 | 0.50 | 16.00 |")
    assert control.startswith("| Control | Original | 1.00 | 1.00 | – |")


def test_a_stale_leaderboard_is_noticed(tmp_path):
    accept(table1(), tmp_path / "table1-mini.json", reason="first run", statistics_of=lambda run: None)
    found = read_baselines(tmp_path)
    page = tmp_path / "LEADERBOARD.md"
    assert not is_current(page, found)
    write(page, found)
    assert is_current(page, found)
    page.write_text(page.read_text().replace("27.44", "37.44"))
    assert not is_current(page, found)


def test_without_rows_the_leaderboard_says_so(tmp_path):
    assert "No rows have been accepted yet." in leaderboard(read_baselines(tmp_path))


def test_the_committed_leaderboard_is_what_the_committed_rows_give():
    assert is_current(results_folder() / "LEADERBOARD.md", read_baselines())
