"""Prompts: two per class, drawn from seed, image and instance alone."""

from collections import Counter

from harness.data.cityscapes import CITYSCAPES
from harness.synthesis.prompts import PROMPTS, draw_prompt


def draw(instance=26001, *, seed=0, frame="aa_0_1", name="car", phrases=PROMPTS, template="a photo of {}"):
    return draw_prompt(
        CITYSCAPES.by_name[name], phrases=phrases, template=template, seed=seed, frame=frame, instance=instance
    )


def test_every_class_with_instances_has_two():
    assert {label.name for label in CITYSCAPES.things} < set(PROMPTS)
    assert all(len(set(phrases)) == 2 for phrases in PROMPTS.values())


def test_prompt_has_text_phrase_and_label():
    prompt = draw()
    assert prompt.text in ("a photo of a red car", "a photo of a white car")
    assert (prompt.phrase, prompt.label_id) == ("car", 26)
    assert draw(name="person", phrases={"person": ["a {odd} man"]}).text == "a photo of a {odd} man"


def test_the_draw_depends_on_seed_image_and_instance_and_is_fair():
    assert draw() == draw()
    texts = Counter(draw(instance).text for instance in range(26000, 27000))
    assert set(texts) == {"a photo of a red car", "a photo of a white car"}
    assert abs(texts["a photo of a red car"] - 500) < 80  # five standard deviations
    for changed in ({"seed": 1}, {"frame": "aa_0_2"}):
        same = sum(draw(i) == draw(i, **changed) for i in range(1000))
        assert abs(same - 500) < 80


def test_a_class_without_phrases_has_no_prompt():
    assert draw(phrases={}) is None
    assert draw(phrases={"car": []}) is None
