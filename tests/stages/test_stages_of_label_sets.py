"""The whole path with labels that are not Cityscapes': synthesis, training, prediction, evaluation."""

import json

import numpy as np
import pytest
import toy
from sets import FRUIT

from harness.core.config import merge, parse, read_toml
from harness.core.errors import HarnessError
from harness.core.paths import CONFIGS
from harness.core.progress import silent
from harness.data import png
from harness.data.labels import Label, LabelSet
from harness.data.tree import Tree
from harness.generators.base import GeneratorPart
from harness.segmenters import checkpoint
from harness.stages import evaluate, predict, synthesize, train
from harness.synthesis.manifest import read_manifest
from harness.synthesis.recipe import Recipe

TOOLS = LabelSet(
    name="tools",
    labels=(
        Label(id=9, name="bench", train_id=4),
        Label(id=5, name="saw", train_id=0, is_thing=True),
        Label(id=200, name="wall", train_id=1),
        Label(id=2, name="hammer", train_id=2, is_thing=True),
        Label(id=1, name="wrench", train_id=3, is_thing=True),
        Label(id=0, name="void"),
    ),
    divisor=10_000,
)
"""Stuff and things mixed in the order of train ids, few ids, large numbers of instances."""
CLASSES = {"fruit": ("table top", "grass", "plum", "apple"), "tools": ("bench", "wall", "saw", "hammer")}
SETS = {labels.name: labels for labels in (FRUIT, TOOLS)}
PROMPTS = {"plum": ["a plum"], "apple": ["an apple"], "saw": ["a saw"], "hammer": ["a hammer"]}


def tree(root, name, **counts):
    return Tree(toy.tree(root, labels=SETS[name], classes=CLASSES[name], **counts))


def spec_of_synthesis(name):
    path = CONFIGS / "recipes" / "corrected.toml"
    words = {key: PROMPTS[key] for key in CLASSES[name][2:]}
    recipe = parse(Recipe, merge(read_toml(path), {"prompts": words, "label": name}), path)
    generator = GeneratorPart(label="r", adapter="recolor", options={"hue": 0.2, "saturation": 0.2, "value": 0.2})
    return synthesize.SynthesisSpec(generator=generator, recipe=recipe, variants=1)


@pytest.mark.parametrize("name", sorted(SETS))
@pytest.mark.parametrize("adapter", sorted(toy.MODELS))
def test_a_network_is_trained_asked_and_scored_for_the_labels_of_its_data_set(adapter, name, tmp_path):
    labels, dataset = SETS[name], tree(tmp_path / "tree", name, train=3, val=2)
    synthesize.run(spec_of_synthesis(name), {"dataset": dataset}, tmp_path / "synthesis", silent)
    backbone = {"panoptic_deeplab": "deeplab", "kmax": "deeplab", "fastinst": "resnet"}.get(adapter, "convnext")
    part = toy.part(adapter, iterations=2)
    inputs = {"dataset": dataset, "synthesis": tmp_path / "synthesis"}
    facts = train.run(train.TrainSpec(segmenter=part, backbone=backbone, seed=0), inputs, tmp_path / "train", silent)
    assert facts["synthetic_images"] > 0
    assert checkpoint.read(tmp_path / "train").labels == labels
    assert checkpoint.load(tmp_path / "train").labels == labels

    inputs = {"dataset": dataset, "train": tmp_path / "train"}
    facts = predict.run(predict.PredictSpec(segmenter=part, backbone=backbone), inputs, tmp_path / "predict", silent)
    _check_answers(tmp_path / "predict", labels, facts["tasks"])

    inputs = {"dataset": dataset, "predict": tmp_path / "predict"}
    scored = evaluate.run(evaluate.EvaluateSpec(coco="instance" in facts["tasks"]), inputs, tmp_path / "scores", silent)
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert set(scores["classes"]) == {label.name for label in labels.evaluated}
    assert f"labels:{name}-{labels.fingerprint}" in scored["signature"]
    if "semantic" in facts["tasks"]:
        assert 0 < scores["IoU"] < 1


def _check_answers(folder, labels, tasks):
    """Every result file speaks of evaluated labels of the set, and of nothing else."""
    known, things = set(labels.evaluated_ids.tolist()), {label.id for label in labels.things}
    if "semantic" in tasks:
        maps = [png.read_labels(path) for path in sorted((folder / "semantic").glob("*.png"))]
        assert len(maps) == 2 and {int(id_) for one in maps for id_ in np.unique(one)} <= known
    if "panoptic" in tasks:
        content = json.loads((folder / "panoptic" / f"{labels.name}_panoptic_val.json").read_text())
        segments = [segment for entry in content["annotations"] for segment in entry["segments_info"]]
        assert len(content["annotations"]) == 2 and {segment["category_id"] for segment in segments} <= known
    if "instance" in tasks:
        lists = sorted((folder / "instances").glob("*.txt"))
        assert len(lists) == 2
        assert {int(row.split()[1]) for path in lists for row in path.read_text().splitlines()} <= things


def test_a_synthesis_keeps_labels_and_encoding(tmp_path):
    dataset = tree(tmp_path / "tree", "tools", train=3, val=1)
    synthesize.run(spec_of_synthesis("tools"), {"dataset": dataset}, tmp_path / "out", silent)
    made, entries = Tree(tmp_path / "out"), read_manifest(tmp_path / "out")
    assert made.labels == TOOLS
    assert {entry.class_name for entry in entries} == {"saw", "hammer"}
    assert all(entry.instance // 10_000 == entry.label_id for entry in entries)
    for frame in made.frames("train"):
        assert TOOLS.known[frame.read_ids()].all()
        assert set(np.unique(png.read_labels(frame.label_ids))) <= {0, 2, 5, 9, 200}


def test_a_class_without_words_is_skipped_and_words_of_no_class_are_an_error(tmp_path):
    dataset = tree(tmp_path / "tree", "tools", train=2, val=1)
    spec = spec_of_synthesis("tools")
    silence = spec.recipe.model_copy(update={"prompts": {"saw": ["a saw"]}})
    facts = synthesize.run(spec.model_copy(update={"recipe": silence}), {"dataset": dataset}, tmp_path / "a", silent)
    assert set(facts["classes"]) == {"saw"}
    strange = spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"prompts": {"sow": ["a saw"]}})})
    with pytest.raises(HarnessError, match="tools has no class 'sow'"):
        synthesize.run(strange, {"dataset": dataset}, tmp_path / "b", silent)


def test_labels_that_do_not_go_together_are_refused(tmp_path):
    fruit, tools = tree(tmp_path / "fruit", "fruit", train=2, val=1), tree(tmp_path / "tools", "tools", train=2, val=1)
    part = toy.part("mask2former", iterations=1)
    spec = train.TrainSpec(segmenter=part, backbone="convnext", seed=0)
    with pytest.raises(HarnessError, match="its labels are fruit, those of the data set tools"):
        train.run(spec, {"dataset": tools, "synthesis": fruit.root}, tmp_path / "mixed", silent)
    train.run(spec, {"dataset": fruit}, tmp_path / "train", silent)
    asked = predict.PredictSpec(segmenter=part, backbone="convnext")
    with pytest.raises(HarnessError, match="trained for fruit, asked about tools"):
        predict.run(asked, {"dataset": tools, "train": tmp_path / "train"}, tmp_path / "p", silent)
