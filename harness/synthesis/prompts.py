"""Each class has two prompt phrases; one is drawn per instance and shared by its variants (phase 2).

The table is data (a recipe may replace it); the draw depends on seed, image and instance alone.
"""

from collections.abc import Mapping, Sequence

from harness.core.seeds import derive
from harness.data.labels import Label
from harness.generators.base import Prompt

PROMPTS: Mapping[str, tuple[str, str]] = {
    "person": ("a woman", "a man"),
    "rider": ("a male rider", "a female rider"),
    "car": ("a red car", "a white car"),
    "truck": ("a red truck", "a green truck"),
    "bus": ("a red bus", "a green bus"),
    "caravan": ("a white caravan", "a black caravan"),
    "trailer": ("a green trailer", "a red trailer"),
    "train": ("a red train", "a black train"),
    "motorcycle": ("a black motorcycle", "a white motorcycle"),
    "bicycle": ("a white bicycle", "a black bicycle"),
}
"""The phrases of the released scripts, by the names of Cityscapes' classes."""


def draw_prompt(
    label: Label, *, phrases: Mapping[str, Sequence[str]], template: str, seed: int, frame: str, instance: int
) -> Prompt | None:
    """Return the prompt of one instance of a frame; None when its class has no phrases."""
    choices = phrases.get(label.name, ())
    if not choices:
        return None
    chosen = choices[derive(seed, "prompt", frame, instance) % len(choices)]
    return Prompt(text=template.replace("{}", chosen), phrase=label.name, label_id=label.id)


def plain_prompt(label: Label, template: str) -> Prompt:
    """Return a prompt that says the class and no more."""
    return Prompt(text=template.replace("{}", f"a {label.name}"), phrase=label.name, label_id=label.id)
