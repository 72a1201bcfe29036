"""Plans: each step once, keys that follow what decides a result and nothing else, missing steps only."""

import hashlib
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import toy

from harness.core.errors import HarnessError
from harness.core.paths import CONFIGS, SUITES
from harness.core.store import Store
from harness.data.base import open_dataset
from harness.data.cityscapes import CITYSCAPES
from harness.data.tree import Tree
from harness.planning import suite as suites
from harness.planning.changes import Changes, parse_setting
from harness.planning.demands import refuse_trackers
from harness.planning.plan import Plan, chain, make_plan, make_plan_on_same_data
from harness.segmenters.options import Training
from harness.stages.train import TrainSpec

SUITE = """
title = "t"
seeds = [0]
question = "q"
[[rows]]
method = "m"
generator = ["none", "focus"]
segmenter = "oneformer"
backbone = ["convnext", "swin"]
[[rows]]
method = "m"
generator = "unheard"
segmenter = "oneformer"
backbone = "swin"
"""


@pytest.fixture
def configs(tmp_path, monkeypatch) -> Path:
    """A copy of the parts that a test may change, with one generator whose adapter doesn't exist."""
    shutil.copytree(CONFIGS, tmp_path / "configs")
    (tmp_path / "configs" / "generators" / "unheard.toml").write_text('label = "Unheard"\nadapter = "unheard_of"\n')
    (tmp_path / "s.toml").write_text(SUITE)
    monkeypatch.setattr(suites, "CONFIGS", tmp_path / "configs")
    return tmp_path / "configs"


def planned(configs: Path, profile: str = "mini", **options) -> Plan:
    return make_plan(str(configs.parent / "s.toml"), profile, **options)


def keys(plan: Plan) -> dict[str, str]:
    return {f"{step.kind} {step.label}": step.key for step in plan.steps().values()}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new))


def test_cells_share_their_steps(configs: Path):
    kinds = [step.kind for step in planned(configs).steps().values()]
    counts = {kind: kinds.count(kind) for kind in kinds}
    assert counts == {"dataset": 1, "synthesize": 1, "train": 4, "predict": 4, "evaluate": 4}


def test_inputs_come_before_what_needs_them(configs: Path):
    seen: set[str] = set()
    for step in planned(configs).steps().values():
        assert all(needed.key in seen for needed in step.inputs.values())
        seen.add(step.key)


def test_a_training_option_trains_again_and_synthesises_nothing(configs: Path):
    before = keys(planned(configs))
    edit(configs / "segmenters" / "oneformer.toml", "grad_clip = 5.0", "grad_clip = 4.0")
    after = keys(planned(configs))
    changed = {name.split()[0] for name in before if before[name] != after[name]}
    assert changed == {"train", "predict", "evaluate"}
    assert before["synthesize focus"] == after["synthesize focus"]


def test_an_inference_option_predicts_again_and_trains_nothing(configs: Path):
    before = keys(planned(configs))
    edit(configs / "segmenters" / "oneformer.toml", "overlap_threshold = 0.8", "overlap_threshold = 0.7")
    after = keys(planned(configs))
    assert {name.split()[0] for name in before if before[name] != after[name]} == {"predict", "evaluate"}


def test_what_decides_no_weight_trains_nothing_again(configs: Path):
    """A training that was stopped for want of memory goes on with a smaller cache."""
    before = keys(planned(configs))
    part = configs / "segmenters" / "oneformer.toml"
    edit(part, "cache_mb = 600", "cache_mb = 60\nworkers = 1\ntrackers = []")
    edit(part, "log_every = 50\nvalidate_every = 120\nvalidate_batches = 10\ncheckpoint_every = 200", "log_every = 1")
    assert keys(planned(configs)) == before


def test_a_backbone_is_not_in_the_key_of_the_other(configs: Path):
    before = keys(planned(configs))
    edit(configs / "segmenters" / "oneformer.toml", "num_heads = [2, ", "num_heads = [4, ")
    after = keys(planned(configs))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        f"{kind} oneformer-swin on {g}" for kind in ("train", "predict", "evaluate") for g in ("none", "focus")
    }


def test_a_recipe_synthesises_again_only_what_uses_it(configs: Path):
    before = keys(planned(configs))
    edit(configs / "profiles" / "mini.toml", 'recipe = "corrected"', 'recipe = "released"')
    after = keys(planned(configs))
    assert before["synthesize focus"] != after["synthesize focus"]
    assert before["evaluate oneformer-swin on none"] == after["evaluate oneformer-swin on none"]
    assert before["evaluate oneformer-swin on focus"] != after["evaluate oneformer-swin on focus"]


def test_words_for_people_are_in_no_key(configs: Path):
    before = {step.kind + str(i): step.key for i, step in enumerate(planned(configs).steps().values())}
    edit(configs / "segmenters" / "oneformer.toml", 'label = "OneFormer"', 'label = "One Former"')
    edit(configs / "generators" / "focus.toml", "label = ", 'label = "x" #')
    edit(configs / "generators" / "focus.toml", 'share = "zoom"', 'share = "size"\nexpects = "none"')
    edit(configs / "generators" / "focus.toml", 'base_of = "generated appearance"', "")
    edit(configs / "profiles" / "mini.toml", 'label = "mini"', 'label = "small"')
    edit(configs / "profiles" / "mini.toml", "train = ", "train = 1")
    assert before == {step.kind + str(i): step.key for i, step in enumerate(planned(configs).steps().values())}


def test_seeds_are_trainings_of_their_own_on_one_synthesis(configs: Path):
    edit(configs.parent / "s.toml", "seeds = [0]", "seeds = [0, 1]")
    plan = planned(configs)
    kinds = [step.kind for step in plan.steps().values()]
    assert kinds.count("train") == 8
    assert kinds.count("synthesize") == 1
    assert all(set(row.finals) == {0, 1} for row in plan.rows if not row.why)


def test_a_part_that_is_not_built_is_a_row_without_steps(configs: Path):
    row = planned(configs).rows[-1]
    assert row.finals == {}
    assert row.generator.label == "Unheard"
    assert row.why == "the generator adapter 'unheard_of' is not built"


def test_only_what_is_missing_is_made_and_its_inputs_only_then(configs: Path, tmp_path):
    plan, store = planned(configs), Store(tmp_path / "store")
    store.open()
    assert plan.missing(store).keys() == plan.steps().keys()
    for step in plan.steps().values():
        store.partial(step.kind, step.key).mkdir()
        store.commit(step.kind, step.key, {})
    assert plan.missing(store) == {}
    final = plan.rows[0].finals[0]
    made_from = {step.kind: step for step in chain(final)}
    shutil.rmtree(store.path("train", made_from["train"].key))
    assert plan.missing(store) == {}
    shutil.rmtree(store.path("evaluate", final.key))
    assert [step.kind for step in plan.missing(store).values()] == ["evaluate"]
    shutil.rmtree(store.path("predict", made_from["predict"].key))
    assert [step.kind for step in plan.missing(store).values()] == ["train", "predict", "evaluate"]


def test_rows_say_what_they_are_compared_with(configs: Path):
    (configs.parent / "s.toml").write_text(SUITE.replace('"none", "focus"', '"none", "focus", "recolor", "gligen"'))
    found = {row.arm.generator: (row.generator.role, row.compared_with) for row in planned(configs).rows}
    bases = {"focus": "generated appearance", "none": "the whole gain"}
    assert found == {
        "none": ("baseline", {}),
        "focus": ("control", {"none": "zoom"}),
        "recolor": ("control", {"focus": "recolouring"}),
        "gligen": ("generator", bases),
        "unheard": ("generator", bases),
    }


def test_a_control_that_is_compared_with_nothing_known_is_refused(configs: Path):
    edit(configs / "generators" / "focus.toml", 'minus = "none"', 'minus = "nun"')
    with pytest.raises(HarnessError, match=r"control\.minus.*'nun'(.|\n)*did you mean 'none'"):
        planned(configs)
    edit(configs / "generators" / "focus.toml", 'role = "control"', "")
    with pytest.raises(HarnessError, match="belong together"):
        planned(configs)


def test_the_paper_profile_says_what_it_needs(configs: Path, tmp_path):
    with pytest.raises(HarnessError, match=r"Cityscapes on disk(.|\n)*--data-root"):
        planned(configs, "paper")
    with pytest.raises(HarnessError, match="no such folder"):
        planned(configs, "paper", data_root=tmp_path / "nowhere")


def test_other_labels_are_other_steps_and_those_of_cityscapes_are_in_no_key(configs: Path, tmp_path):
    roots = {name: tmp_path / name for name in ("plain", "said", "turned")}
    for root in roots.values():
        toy.tree(root, train=1, val=1)
    turned = CITYSCAPES.model_copy(update={"name": "turned", "void": 1})
    (roots["said"] / "labels.json").write_text(CITYSCAPES.model_dump_json())
    (roots["turned"] / "labels.json").write_text(turned.model_dump_json())
    found = {name: keys(planned(configs, "paper", data_root=root)) for name, root in roots.items()}
    assert found["plain"] == found["said"]
    assert found["plain"].keys() == found["turned"].keys()
    assert not set(found["plain"].values()) & set(found["turned"].values())
    digest = hashlib.sha256()
    for split in ("train", "val"):
        (frame,) = Tree(roots["plain"]).frames(split)
        for path in (frame.image, frame.instance_ids, frame.label_ids):
            digest.update(f"{path.relative_to(roots['plain'])}\0{path.stat().st_size}\n".encode())
    assert planned(configs, "paper", data_root=roots["plain"]).dataset.key == digest.hexdigest()[:20]


def test_a_generator_that_cannot_paint_the_data_set_is_a_row_without_steps(tmp_path):
    plan = make_plan("controls", "paper", data_root=toy.tree(tmp_path / "tree", train=1, val=1))
    why = {row.arm.generator: row.why for row in plan.rows}
    assert (
        why["oracle"] == why["oracle_frame"] == "the generator adapter 'oracle' can only paint frames that streets drew"
    )
    assert not why["focus"] and not any(step.label.startswith("oracle") for step in plan.steps().values())


def test_a_data_set_of_an_unknown_adapter_is_told(configs: Path, tmp_path):
    edit(configs / "datasets" / "cityscapes.toml", 'adapter = "cityscapes"', 'adapter = "cityscape"')
    with pytest.raises(HarnessError, match=r"unknown dataset adapter 'cityscape'(.|\n)*'cityscapes'"):
        planned(configs, "paper", data_root=toy.tree(tmp_path / "tree", train=1, val=1))


def test_a_mistake_in_a_part_is_found_before_anything_runs(configs: Path):
    edit(configs / "segmenters" / "oneformer.toml", "grad_clip = 5.0", "grad_clpi = 5.0")
    with pytest.raises(HarnessError, match=r"grad_clpi(.|\n)*grad_clip"):
        planned(configs)


def test_every_suite_can_be_planned():
    for path in SUITES.glob("*.toml"):
        assert make_plan(path.stem, "mini").rows


def test_a_suite_beside_another_is_planned_on_the_same_data():
    there = make_plan("ablation", "mini")
    assert set(make_plan_on_same_data(make_plan("table1", "mini"), "ablation").steps()) == set(there.steps())


def test_another_recipe_takes_the_place_of_the_profiles_where_no_row_names_one():
    plain, other = make_plan("table1", "mini"), make_plan("table1", "mini", recipe="released")
    assert other.name == "table1-released" and other.suite.title == f"{plain.suite.title}, recipe released"
    recipes = {step.spec.recipe.label for step in other.steps().values() if step.kind == "synthesize"}
    assert recipes == {"released"} and make_plan("table1", "mini", recipe="corrected").steps() == plain.steps()
    trainings = [{step.key for step in plan.steps().values() if step.kind == "train"} for plan in (plain, other)]
    assert len(trainings[0] & trainings[1]) == 2 * 3, "real frames alone stay the same"
    assert [row.arm.name for row in plain.rows] == [row.arm.name for row in other.rows]
    assert make_plan_on_same_data(other, "ablation").name == "ablation-released"
    named = {
        s.spec.recipe.label
        for s in make_plan("recipes", "mini", recipe="released").steps().values()
        if s.kind == "synthesize"
    }
    assert named == {"corrected", "released"}, "rows that name one keep it"
    with pytest.raises(HarnessError, match="unknown recipe 'relased'"):
        make_plan("table1", "mini", recipe="relased")


def test_a_part_of_the_benchmark_is_evaluated_and_never_compared_with_print(tmp_path):
    for split, city, number in (("train", "aachen", 0), ("val", "lindau", 0), ("val", "lindau", 1)):
        ids = np.full((8, 16), 7, np.int32)
        Tree(tmp_path).write_frame(split, city, f"{city}_{number:06d}_000019", np.zeros((8, 16, 3), np.uint8), ids)
    plan = make_plan("table1", "paper", data_root=tmp_path)
    assert not plan.profile.comparable
    assert "train has 1 frames of 1 cities, expected 2975 of 18" in plan.profile.caption
    assert "val has 2 frames of 1 cities, expected 500 of 3" in plan.profile.caption
    part = plan.dataset.spec.model_copy(update={"whole": {"train": (1, 1), "val": (2, 1)}})
    assert open_dataset(part, tmp_path).shortfall() == ""
    other = part.model_copy(update={"whole": {}, "label": "Orchard"})
    assert open_dataset(other, tmp_path).shortfall() == "no printed numbers are about Orchard"


def test_trackers_are_called_after_the_suite_and_refused_where_they_are_not_installed(tmp_path):
    def plan(*settings: str) -> Plan:
        return make_plan("table1", "smoke", changes=Changes(settings=tuple(map(parse_setting, settings))))

    def projects(plan: Plan) -> set[str]:
        specs = [step.spec for step in plan.steps().values() if isinstance(step.spec, TrainSpec)]
        trainings = [training for spec in specs if isinstance(training := spec.segmenter.training, Training)]
        assert len(trainings) == len(specs)
        return {training.project for training in trainings}

    assert projects(plan()) == {"table1"}
    other = plan("segmenters.oneformer.training.project=mine", 'segmenters.oneformer.training.trackers=["wandb"]')
    assert projects(other) == {"mine"} and other.steps().keys() == plan().steps().keys()
    refuse_trackers(plan(), Store(tmp_path))
    if find_spec("wandb") is None:
        with pytest.raises(HarnessError, match="trackers' of its segmenter: wandb is not installed") as refused:
            refuse_trackers(other, Store(tmp_path))
        assert "harness[wandb]" in refused.value.hint
