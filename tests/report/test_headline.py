"""The first sentence of a report, for every answer that intervals leave; each case is worked out by hand."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from result_rows import difference, measured, run

from harness.metrics.intervals import Difference
from harness.report.headline import of_quality, sentence
from harness.results.gains import Gain, decompose
from harness.results.instrument import examine
from harness.results.rows import Row

NAMES = {"none": "Original", "focus": "Focused crop only", "gligen": "GLIGEN", "blended": "BlendedDiff"}
Ends = tuple[float, float] | None


def rows(*names: str, **fields: str) -> list[Row]:
    made = [measured(*map(run, range(3)), generator=name, label=NAMES.get(name, name)) for name in names]
    return [row.model_copy(update={**fields, "name": f"{row.name} {fields}"}) for row in made]


def said(found: list[Row], ends: Mapping[tuple[str, str], Ends]) -> str:
    """The sentence where the interval of (after, before) is as given, in AP points, and [-1, 1] elsewhere."""

    def paired(before: Row, after: Row, metric: str) -> Difference | None:
        low_high = ends.get((after.generator, before.generator), (-1.0, 1.0))
        return difference(low_high[0] / 100, low_high[1] / 100) if low_high else None

    gains = [moved(gain) for gain in decompose(found, paired)]
    return sentence(gains, examine(found, gains))


def moved(gain: Gain) -> Gain:
    """The gain with the middle of its interval as value: rows of this file all score the same."""
    return replace(gain, value=gain.difference.value) if gain.difference else gain


@pytest.mark.parametrize(
    ("over_real", "over_focus", "begins", "holds"),
    [
        (
            (1, 3),
            (0.5, 1.5),
            "Yes: GLIGEN on Swin (mini) raises AP by +2.00 points (+1.00 to +3.00)",
            "by +1.00 points",
        ),
        ((1, 3), (-1, 1), "Cannot tell: GLIGEN", "what it adds to “Focused crop only”, 0.00 points"),
        ((1, 3), (-3, -1), "No: GLIGEN", "stays behind “Focused crop only”, by −2.00 points"),
        (
            (-3, -1),
            (-1, 1),
            "No: none of 1 comparisons",
            "1 shows a loss, the largest −2.00 points (−3.00 to −1.00) of AP",
        ),
        ((-1, 1), (1, 3), "Cannot tell: no generator differs distinguishably from real frames", "effects below"),
        (None, None, "Cannot tell: no difference has an interval", "several seeds"),
    ],
)
def test_a_generator_must_beat_real_frames_and_the_focused_crop(over_real, over_focus, begins, holds):
    ends = {("gligen", "none"): over_real, ("gligen", "focus"): over_focus}
    text = said(rows("none", "focus", "gligen"), ends)
    assert text.startswith(begins) and holds in text


def test_the_best_of_several_generators_is_named_with_how_many_do():
    ends = {("gligen", "none"): (1, 3), ("gligen", "focus"): (1, 2)}
    ends |= {("blended", "none"): (3, 5), ("blended", "focus"): (2, 3)}
    text = said(rows("none", "focus", "gligen", "blended"), ends)
    assert text.startswith("Yes, in 2 of 2 comparisons: BlendedDiff")
    ends["blended", "none"] = (-5, -3)
    assert said(rows("none", "focus", "gligen", "blended"), ends).startswith("Yes, in 1 of 2 comparisons: GLIGEN")


def test_a_control_that_does_as_well_without_a_generator_is_named_beside_it():
    def scored(name: str, score: float) -> Row:
        return rows(name)[0].model_copy(update={"scores": {"AP": score}})

    ends = {("gligen", "none"): (1, 3), ("gligen", "focus"): (0.5, 1.5), ("copy_paste", "focus"): (1, 2)}
    found = [scored("none", 0.2), scored("focus", 0.21), scored("gligen", 0.22)]
    rival = "Without any generator, copy_paste on Swin (mini) does as well: +1.50 points (+1.00 to +2.00) over “Focused"
    assert rival in said([*found, scored("copy_paste", 0.23)], ends)
    assert rival not in said([*found, scored("copy_paste", 0.215)], ends)
    assert rival not in said([*found, scored("copy_paste", 0.23)], ends | {("copy_paste", "focus"): (-1, 4)})


def test_a_table_whose_controls_fail_answers_nothing():
    found = rows("none", "duplicate", "focus", "gligen")
    broken = {("duplicate", "none"): (1, 3), ("gligen", "none"): (1, 3), ("gligen", "focus"): (1, 3)}
    assert said(found, broken).startswith("Cannot tell: the instrument fails its controls")
    assert said(found, broken | {("duplicate", "none"): (-1, 1)}).startswith("Yes: ")


def test_recipes_and_false_labels_have_answers_of_their_own():
    recipes = [*rows("none"), *rows("focus", recipe="corrected"), *rows("focus", recipe="released")]
    assert said(recipes, {}).startswith("Cannot tell: nothing that the recipe changes is distinguishable from zero")
    changed = said(recipes, {("focus", "focus"): (1, 3)})
    assert changed.startswith("Yes: the recipe matters in 1 of 1 comparisons")
    assert "released is +2.00 points (+1.00 to +3.00) from corrected, in AP" in changed
    lies = rows("none", "gligen", labels="shuffled", scores={"AP": 0.0})
    lies = [row.model_copy(update={"seeds": ()}) for row in lies]
    assert said(lies, {}).startswith("No: with labels of other frames no gain is left (1 of 1")
    assert said(lies, {("gligen", "none"): (1, 3)}).startswith("Yes: with labels of other frames GLIGEN")


def test_without_a_generator_there_is_no_answer():
    assert said(rows("none", "focus"), {}) == ""
    assert sentence([], examine([], [])) == ""


def test_image_quality_says_whether_a_control_beats_every_generator():
    def scored(name: str, **scores: float) -> Row:
        return rows(name)[0].model_copy(update={"scores": scores, "seeds": ()})

    made = [scored("gligen", SSIM=0.5, PSNR=16.0, FID=90.0), scored("blended", SSIM=0.6, PSNR=15.0, FID=80.0)]
    text = of_quality([*made, scored("focus", SSIM=1.0, FID=85.0)])
    assert text == (
        "No: in 1 of 3 metrics a control beats every generator. "
        "Among the generators BlendedDiff leads in SSIM, FID; GLIGEN leads in PSNR."
    )
    assert of_quality([*made, scored("focus", SSIM=0.2)]).startswith("Yes: no control beats the best generator")
    assert of_quality(made).startswith("Cannot tell: ")
    assert of_quality([]) == ""
