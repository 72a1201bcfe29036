"""What a command changes of a suite: rows, seeds, keys; recorded, named, and refused when it makes no sense."""

import pytest

from harness.core.errors import HarnessError
from harness.core.store import Store
from harness.planning.changes import ADDED, Changes, parse_setting
from harness.planning.plan import Plan, make_plan, make_plan_on_same_data
from harness.results.check import _obstacle
from harness.results.collect import check_published, rows


def planned(suite: str = "table1", **changes) -> Plan:
    changes["settings"] = tuple(map(parse_setting, changes.pop("settings", ())))
    plan = make_plan(suite, "mini", changes=Changes(**changes))
    check_published(plan)
    return plan


def arms(plan: Plan) -> list[tuple[str, str | None]]:
    return [(row.arm.generator, row.arm.backbone) for row in plan.rows]


def test_only_takes_rows_by_every_factor_that_is_named():
    assert arms(planned(only=("gligen",))) == [("gligen", "convnext"), ("gligen", "swin")]
    assert arms(planned(only=("gligen", "focus", "swin"))) == [("gligen", "swin"), ("focus", "swin")]
    assert arms(planned(only=("none/oneformer/swin",))) == [("none", "swin")]
    assert arms(planned(only=("none/oneformer/swin", "focus", "convnext"))) == [("none", "swin"), ("focus", "convnext")]


def test_without_drops_rows_of_any_named_part():
    left = arms(planned(without=("gligen", "diff_inpainting", "convnext")))
    assert left == [("none", "swin"), ("blended", "swin"), ("focus", "swin")]


def test_rows_of_more_generators_stand_beside_those_of_every_network():
    plan = planned(added=("recolor",))
    added = [row for row in plan.rows if row.arm.method == ADDED]
    assert [(row.arm.generator, row.arm.backbone) for row in added] == [("recolor", "convnext"), ("recolor", "swin")]
    assert added[0].compared_with["focus"] == "recolouring"
    assert [row.arm.generator for row in planned("ablation", added=("oracle",)).rows][-1] == "oracle"
    there = make_plan("table1", "mini").steps()
    assert there.items() <= plan.steps().items(), "the rows of the suite keep their steps"


def test_rows_of_more_segmenters_stand_beside_those_of_every_generator():
    plan = planned(added=("fastinst",), only=("fastinst",))
    assert arms(plan) == [
        (one, "resnet50") for one in ("none", "gligen", "diff_inpainting", "blended", "focus", "oracle")
    ]
    assert {row.arm.method for row in plan.rows} == {"FastInst"}
    assert plan.steps().keys() <= make_plan("table2", "mini").steps().keys()


def test_seeds_are_those_that_are_asked_for():
    plan = planned(only=("none",), seeds=(0, 3))
    assert [[*row.finals] for row in plan.rows] == [[0, 3], [0, 3]]
    assert plan.name == "table1" and plan.folder == "table1-only-none-seeds-0-3-mini"


def test_a_setting_changes_a_key_as_the_file_would_and_is_recorded_where_it_counts(tmp_path):
    before = make_plan("table1", "mini")
    plan = planned(settings=["segmenters.oneformer.training.iterations=500", "generators.focus.batch_size=3"])
    assert all(final.inputs["predict"].inputs["train"].spec.segmenter.training.iterations == 500
               for row in plan.rows for final in row.finals.values())  # fmt: skip
    changed = {step.kind for step in plan.steps().values() if step.key not in before.steps()}
    assert changed == {"train", "predict", "evaluate", "synthesize"}
    assert before.dataset.key == plan.dataset.key
    found = {row.name: row for row in rows(plan, Store(tmp_path)) if row.origin == "measured"}
    assert found["focus/oneformer/swin"].settings == {
        "segmenters.oneformer.training.iterations": "500",
        "generators.focus.batch_size": "3",
    }
    assert found["none/oneformer/swin"].settings == {"segmenters.oneformer.training.iterations": "500"}
    assert "iterations-500" in plan.name and "iterations = 500" in plan.suite.title
    plain = {row.name: row for row in rows(before, Store(tmp_path))}["none/oneformer/swin"]
    assert "suite" in _obstacle(plain, found[plain.name])
    assert "command line" in _obstacle(plain, found[plain.name].model_copy(update={"suite": plain.suite}))


def test_settings_of_the_profile_hold_for_other_suites_on_the_same_data():
    plan = planned(settings=["profiles.mini.synthesis.top_k=1", "datasets.streets.counts.train=20"])
    steps = plan.steps().values()
    assert {step.spec.top_k for step in steps if step.kind == "synthesize"} == {1}
    assert plan.dataset.spec.counts["train"] == 20
    other = make_plan_on_same_data(plan, "ablation")
    shared = {key for key, step in other.steps().items() if step.kind == "synthesize"} & plan.steps().keys()
    assert len(shared) == 4 and {row.settings["profiles.mini.synthesis.top_k"] for row in plan.rows} == {"1"}


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("0.5", 0.5), ("true", True), ("[1, 2]", [1, 2]), ('"ddim"', "ddim"), ("ddim", "ddim"), ("", "")],
)
def test_values_are_toml_or_text(text, value):
    assert parse_setting(f"recipes.corrected.x.y={text}")[2:] == (("x", "y"), value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"only": ("glign",)}, "no row of the suite has 'glign'.*did you mean 'gligen'"),
        ({"without": ("streets",)}, "no row of the suite has 'streets'"),
        ({"only": ("swin",), "without": ("swin",)}, "no row is left"),
        ({"added": ("recolour",)}, "no generator and no segmenter of this name.*did you mean 'recolor'"),
        ({"added": ("focus",)}, "has rows of 'focus' already"),
        ({"added": ("oneformer",)}, "has rows of 'oneformer' already"),
        ({"suite": "ablation", "added": ("fastinst",)}, "trains no segmenter"),
        ({"settings": ["segmenters.oneformer=5"]}, "expected KIND.NAME.KEY=VALUE"),
        ({"settings": ["segmenters.oneformer.training.iterations"]}, "expected KIND.NAME.KEY=VALUE"),
        ({"settings": ["segmentrs.oneformer.x=1"]}, "no 'segmentrs'.*did you mean 'segmenters'"),
        ({"settings": ["segmenters.onformer.x=1"]}, "unknown segmenter 'onformer'.*did you mean 'oneformer"),
        ({"settings": ["segmenters.fastinst.training.iterations=1"]}, "no row of the suite uses it"),
        ({"settings": ["segmenters.oneformer.training.iteratons=1"]}, "--set .*iteratons.*did you mean 'iterations'"),
        ({"settings": ["segmenters.oneformer.training.iterations=x"]}, "--set .*iterations.*valid integer.*'x'"),
        ({"settings": ["profiles.paper.seeds=[1]"]}, "no row of the suite uses it"),
    ],
)
def test_what_makes_no_sense_is_one_message(changes, message):
    with pytest.raises(HarnessError, match=f"(?s){message}"):
        planned(**changes)
