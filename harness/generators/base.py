"""What a generator is: square crops, masks, prompts and seeds in, as many square images out.

Everything that repaints an instance, the controls included, is a `Generator`; how its result comes back into the frame
is told by its part (`placement`, `window`), and what it is compared with by its role. Not here: selection, paste and
focus (harness/synthesis), the models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field, model_validator

from harness.core.config import Strict, parse
from harness.core.errors import HarnessError
from harness.core.registry import GENERATORS


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What to paint: the whole sentence, the phrase that grounds it (the class name) and the class's label id."""

    text: str
    phrase: str
    label_id: int


Role = Literal["baseline", "control", "generator"]
Truth = Literal["none", "gain"]


class Control(Strict):
    """What a control is compared with, and what is known of the difference."""

    share: str
    """What the difference is called, as printed: "zoom", "count"."""
    minus: str
    """Name of the generator that is subtracted."""
    expects: Truth | None = None
    """The true difference where it is known by construction: none, or a gain."""


class GeneratorPart(Strict):
    """One file of configs/generators, parsed."""

    NOT_IN_KEY: ClassVar = {"label": True, "role": True, "control": True, "base_of": True}
    """What says how a result is printed and compared, and decides no pixel."""

    label: str
    """Name in tables."""
    adapter: str
    """Name in the registry of generators."""
    placement: Literal["in_place", "other_frame"] = "in_place"
    """Where the result is pasted: over its own instance, or as a new instance into another frame."""
    window: Literal["focused", "frame"] = "focused"
    """What becomes a training image: the window round the instance, or the whole frame."""
    batch_size: int = Field(default=16, ge=1)
    """Crops per call of `edit`; fixed in the plan, so that a resumed run calls with the same batches."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The adapter's own settings, parsed by its `Options`."""
    role: Role = "generator"
    """baseline: real frames alone. control: paints nothing new, or something whose worth is known."""
    control: Control | None = None
    """What a control is compared with."""
    base_of: str = ""
    """What a generator adds to this baseline or control, as printed; empty: generators are not compared with it."""

    @model_validator(mode="after")
    def _compared(self) -> "GeneratorPart":
        if (self.role == "control") != (self.control is not None):
            raise ValueError('role = "control" and a table [control] belong together')
        return self


def compared_with(part: GeneratorPart, others: Mapping[str, GeneratorPart]) -> dict[str, str]:
    """What `part` is compared with: name of another generator to what the difference is called.

    A control is compared with the one that it names. Whatever paints something new, a generator or a control that
    expects a gain, is compared with each base among `others`: a control in the same place and window, the baseline.
    """
    found = {part.control.minus: part.control.share} if part.control else {}
    if part.role == "generator" or (part.control and part.control.expects == "gain"):
        for name, other in sorted(others.items(), key=lambda item: item[1].role == "baseline"):
            alike = (other.placement, other.window) == (part.placement, part.window)
            if other.base_of and other is not part and (alike or other.role == "baseline"):
                found.setdefault(name, other.base_of)
    return found


class Generator(Protocol):
    """Batch in, batch out, one seed per item: an item's image depends on its own crop, mask, prompt and seed alone."""

    Options: ClassVar[type[Strict]]

    def __init__(self, options: Any, *, device: str) -> None:
        """`options` is an instance of `Options`."""

    def edit(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        """Repaint each crop inside its mask.

        Crops are uint8 [S, S, 3] RGB, masks bool [S, S], S differs from item to item; results are uint8 [T, T, 3] in
        the same order, of any side T. Crops and masks are not written to.
        """
        ...


def load_generator(part: GeneratorPart, device: str = "cpu") -> Generator:
    """The generator that `part` names, with its options parsed; HarnessError for an unknown adapter or option."""
    adapter = GENERATORS.load(part.adapter)
    return adapter(parse(adapter.Options, part.options, f"generator {part.label!r}, options"), device=device)


def checked(images: list[np.ndarray], count: int, generator: str) -> list[np.ndarray]:
    """`images` if they are `count` square uint8 RGB arrays, else a HarnessError that names the generator."""
    if len(images) != count:
        raise HarnessError(f"generator {generator!r} returned {len(images)} images for {count} crops")
    for image in images:
        shape, dtype = getattr(image, "shape", ()), getattr(image, "dtype", type(image).__name__)
        if dtype != np.uint8 or len(shape) != 3 or shape[0] != shape[1] or shape[2] != 3 or shape[0] == 0:
            found = f"{'x'.join(map(str, shape)) or 'no'} array of {dtype}"
            raise HarnessError(f"generator {generator!r} returned a {found}; expected a square SxSx3 array of uint8")
    return images
