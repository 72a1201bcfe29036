"""Gains: what is compared with what stands in the rows, and an interval decides."""

import ast
import re
import tomllib

from result_rows import PARTS, difference, measured, run, table1

from harness.core.config import parse
from harness.core.paths import REPOSITORY
from harness.generators.base import Control, GeneratorHead, compared_with
from harness.report.answer import label, sentences
from harness.results.gains import decompose


def test_gains_are_taken_within_one_segmenter_and_need_an_interval():
    rows = [row for row in table1() if row.backbone == "Swin (mini)" or row.origin != "measured"]
    plain = decompose(rows, lambda *_: None)
    assert [(gain.share, round(gain.value, 4)) for gain in plain] == [
        ("zoom", 0.0361),
        ("generated appearance", 0.0063),
        ("the whole gain", 0.0424),
    ]
    assert sentences(plain) == [
        "Swin (mini), differences in AP, 95 % intervals. Without an interval, so that nothing can be concluded: "
        "zoom (focus − none) +3.61; generated appearance (generator − focus) +0.63 for DiffInpainting; "
        "the whole gain (generator − none) +4.24 for DiffInpainting."
    ]
    certain = decompose(rows, lambda before, after, metric: difference(0.01, 0.05))
    assert sentences(certain) == [
        "Swin (mini), differences in AP, 95 % intervals. Distinguishable from zero: "
        "zoom (focus − none) +3.61 (+1.00 to +5.00); "
        "generated appearance (generator − focus) +0.63 for DiffInpainting (+1.00 to +5.00); "
        "the whole gain (generator − none) +4.24 for DiffInpainting (+1.00 to +5.00)."
    ]
    unsure = decompose(rows, lambda before, after, metric: difference(-0.01, 0.05))
    assert sentences(unsure)[0].startswith(
        "Swin (mini), differences in AP, 95 % intervals. Not distinguishable from zero: zoom (focus − none) +3.61"
    )


def test_gains_of_different_mixes_are_kept_apart():
    rows = [row for row in table1() if row.backbone == "Swin (mini)" and row.origin == "measured"]
    shuffled = [
        row.model_copy(update={"name": f"{row.name}/shuffled", "labels": "shuffled", "scores": {"AP": 0.0}})
        for row in rows
    ]
    gains = decompose([*rows, *shuffled], lambda *_: None)
    parts = {("Swin (mini)", "true labels"), ("Swin (mini)", "shuffled labels")}
    assert {gain.group for gain in gains} == parts | {("Swin (mini)",)}
    assert {gain.value for gain in gains if "shuffled labels" in gain.group} == {0.0}
    assert {gain.share for gain in gains if gain.group not in parts} == {"the labels"}
    assert len(sentences(gains)) == 3
    assert "the labels (shuffled labels − true labels) −" in sentences(gains)[2]


def test_real_frames_alone_are_the_base_of_every_mix_and_recipe():
    rows = [row for row in table1() if row.backbone == "Swin (mini)" and row.origin == "measured"]
    other = {"mix": "probability 0.5", "recipe": "released"}
    mixed = [
        row.model_copy(update={**other, "name": f"{row.name}/released"}) for row in rows if row.generator != "none"
    ]
    gains = decompose([*rows, *mixed], lambda *_: None)
    split = len(gains) // 2
    own = [gain for gain in gains if "released" not in gain.group]
    assert [(gain.share, gain.value) for gain in own] == [(gain.share, gain.value) for gain in gains if gain not in own]
    assert len(own) == split
    assert {gain.group for gain in gains if gain not in own} == {("Swin (mini)", "released", "probability 0.5")}


def test_recipes_and_mixes_are_compared_with_the_first_one_generator_by_generator():
    made = ("diff_inpainting", "focus")
    swin = [row for row in table1() if row.backbone == "Swin (mini)" and row.origin == "measured"]
    rows = [row.model_copy(update={"recipe": "corrected"}) for row in swin if row.generator in made]
    worse = [
        row.model_copy(
            update={
                "recipe": "released",
                "name": f"{row.name}/released",
                "scores": {"AP": row.scores["AP"] - 0.02},
            }
        )
        for row in rows
    ]
    mixed = [row.model_copy(update={"mix": "probability 0.5"}) for row in rows]
    gains = [
        gain for gain in decompose([*rows, *worse], lambda *_: difference(-0.03, -0.01)) if gain.factor == "recipe"
    ]
    assert [label(gain) for gain in gains] == [
        "the recipe: released − corrected, DiffInpainting",
        "the recipe: released − corrected, Focused crop only",
    ]
    assert sentences(gains) == [
        "Swin (mini), differences in AP, 95 % intervals. Distinguishable from zero: the recipe (released − corrected) "
        "−2.00 for DiffInpainting (−3.00 to −1.00), −2.00 for Focused crop only (−3.00 to −1.00)."
    ]
    gains = [gain for gain in decompose([*rows, *mixed], lambda *_: None) if gain.factor == "mix"]
    assert [(label(gain), gain.value) for gain in gains] == [
        ("the mix: probability 0.5 − concat, DiffInpainting", 0.0),
        ("the mix: probability 0.5 − concat, Focused crop only", 0.0),
    ]


def shares(*generators: str, **added: GeneratorHead) -> set[tuple[str, str, str]]:
    """(share, new, old) of a suite with these generators, `added` ones among them."""
    parts = PARTS | added
    rows = [
        measured(run(), generator=name, role=parts[name].role, compared_with=compared_with(parts[name], parts))
        for name in generators
    ]
    return {(gain.share, gain.after.generator, gain.before.generator) for gain in decompose(rows, lambda *_: None)}


def test_every_control_that_is_measured_stands_in_the_answer():
    assert shares("none", "duplicate", "focus", "recolor", "copy_paste") == {
        ("zoom", "focus", "none"),
        ("count", "duplicate", "none"),
        ("recolouring", "recolor", "focus"),
        ("copy-paste", "copy_paste", "focus"),
    }


def test_a_control_of_ones_own_is_one_toml_and_no_generated_appearance():
    text = (REPOSITORY / "docs" / "how-to" / "generator.md").read_text()
    shown = re.search(r'recolor_weak.toml"\n(.*?)```', text, re.DOTALL)
    assert shown
    weak = parse(GeneratorHead, tomllib.loads(shown[1]), "recolor_weak.toml")
    assert shares("none", "focus", "recolor_weak", recolor_weak=weak) == {
        ("zoom", "focus", "none"),
        ("weak recolouring", "recolor_weak", "focus"),
    }


def test_a_perfect_generator_is_a_control_and_compared_as_generators_are():
    def oracle(window: str) -> GeneratorHead:
        known = Control(share="the known gain", minus="none", expects="gain")
        return GeneratorHead(label="Oracle", adapter="oracle", role="control", control=known, window=window)

    names = ("none", "duplicate", "focus", "oracle")
    apart = {("zoom", "focus", "none"), ("count", "duplicate", "none"), ("the known gain", "oracle", "none")}
    zoomed, whole = shares(*names, oracle=oracle("focused")), shares(*names, oracle=oracle("frame"))
    assert zoomed - apart == {("generated appearance", "oracle", "focus")}
    assert whole - apart == {("generated appearance", "oracle", "duplicate")}


def test_a_pasting_generator_is_compared_with_the_control_that_pastes():
    pasted = GeneratorHead(label="X", adapter="x", placement="other_frame")
    assert ("generated appearance", "x", "copy_paste") in shares("none", "focus", "copy_paste", "x", x=pasted)
    assert ("generated appearance", "x", "focus") not in shares("none", "focus", "copy_paste", "x", x=pasted)


def test_no_module_that_compares_names_a_generator():
    """What is compared with what stands in the parts: a new control is one file."""
    named = []
    for room in ("planning", "results", "report", "commands"):
        for path in sorted((REPOSITORY / "harness" / room).rglob("*.py")):
            texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
            # "none" is also an adapter, a truth and a way to mark a table.
            named += [(path.name, text) for text in texts if text in PARTS and text != "none"]
    assert named == []
