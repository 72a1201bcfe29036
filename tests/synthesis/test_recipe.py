"""The two recipes differ in their fields, and nowhere else."""

import ast
from pathlib import Path

import pytest
from sets import FRUIT

import harness.synthesis
from harness.core.config import parse, read_toml
from harness.core.errors import HarnessError
from harness.core.paths import CONFIGS
from harness.data.cityscapes import CITYSCAPES
from harness.stages import synthesize
from harness.synthesis.recipe import Recipe


def recipe(name, **changed):
    path = CONFIGS / "recipes" / f"{name}.toml"
    return parse(Recipe, {**read_toml(path), **changed}, path)


def test_recipes_differ_where_the_sources_do():
    corrected, released = recipe("corrected"), recipe("released")
    differing = {name for name in Recipe.model_fields if getattr(corrected, name) != getattr(released, name)}
    assert differing == {
        "label",
        "candidates",
        "border",
        "mask_bits",
        "paste_filter",
        "colour",
        "empty_mask",
        "zoom_rounding",
        "side_rounding",
        "least_visible",
        "focus_filter",
        "least_vertices",
        "annotation",
    }
    assert corrected.prompts["bus"] == ["a red bus", "a green bus"]


def test_no_code_asks_which_recipe_it_is():
    files = [*Path(harness.synthesis.__path__[0]).glob("*.py"), Path(synthesize.__file__)]
    assert len(files) > 5
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                assert not {"released", "corrected"} & {c.value for c in ast.walk(node) if isinstance(c, ast.Constant)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mask_bits": 12}, "mask_bits"),
        ({"template": "a photo"}, "one {} for the phrase"),
        ({"zoom_mean": 5.0}, "at most 1 \\+ 3 zoom_std = 4.0"),
        ({"colur": "none"}, "unknown key 'colur'"),
    ],
)
def test_wrong_recipes_are_refused(changed, message):
    with pytest.raises(HarnessError, match=message):
        recipe("corrected", **changed)


@pytest.mark.parametrize("name", ["road", "cat", "cars"])
def test_phrases_of_a_class_that_the_labels_have_not_are_refused(name):
    wrong = recipe("corrected", prompts={name: [f"a {name}"]})
    with pytest.raises(HarnessError, match=f"cityscapes has no class '{name}' with instances") as error:
        wrong.check(CITYSCAPES)
    assert name != "cars" or "'car'" in error.value.hint


def test_phrases_are_those_of_any_label_set():
    recipe("corrected").check(CITYSCAPES)
    recipe("corrected").check(FRUIT)  # the phrases for Cityscapes stand in every recipe that names none
    recipe("corrected", prompts={"plum": ["a blue plum"]}).check(FRUIT)
    with pytest.raises(HarnessError, match="fruit has no class 'car'"):
        recipe("corrected", prompts={"car": ["a blue car"]}).check(FRUIT)
