"""A generator takes square crops, masks, prompts and seeds, and returns as many square images.

Everything that repaints an instance, the controls included, is a `Generator`; how its result comes back into the frame
is told by its part (`placement`, `window`), and what it is compared with by its role. A generator may make whole
annotated images instead, and may have all that it gives ready in files (`Stock`). Not here: selection, paste and
focus (harness/synthesis), the models.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar

import numpy as np
from pydantic import Field, ValidationInfo, model_validator

from harness.core.config import AS_GIVEN, Strict, parse_table
from harness.core.errors import HarnessError, near
from harness.core.registry import Adapter, Registry
from harness.data.base import Dataset, Frame
from harness.data.labels import Label, LabelSet
from harness.weights.checkpoints import Need


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """This says what to paint: the whole sentence, the phrase that grounds it (the class name) and the class's label
    id."""

    text: str
    phrase: str
    label_id: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """This says where a crop comes from: the instance's id and label, and the square (x0, y0, x1, y1, half open, in
    pixels of the frame), which may reach over the frame on the right or below. `variant` counts the results for one
    instance."""

    dataset: Dataset
    frame: Frame
    instance: int
    label: Label
    square: tuple[int, int, int, int]
    variant: int = 0


class Whole(NamedTuple):
    """An annotated training image: uint8 [H, W, 3] RGB and the ids of its pixels, uint16 [H, W]."""

    image: np.ndarray
    ids: np.ndarray


class Stock(NamedTuple):
    """This holds what a generator has ready in files before it is asked.

    `files`: by name of the source frame and by id of the instance (0: the whole frame), one file for each variant.
    `text` says in a few words what there is.
    """

    text: str
    files: Mapping[str, Mapping[int, tuple[Path, ...]]]

    def check(self, dataset: Dataset, known: Collection[str], split: str) -> None:
        """Raise HarnessError when a file is of a frame that is not among `known`, the names of a split."""
        for source, instances in self.files.items():
            if source not in known:
                first = next(iter(instances.values()))[0]
                raise HarnessError(
                    f"{first}: its frame {source} is none of split {split} of {dataset.part.label}",
                    hint=near(source, known) if known else "",
                )


Role = Literal["baseline", "control", "generator"]
Truth = Literal["none", "gain"]


class Control(Strict):
    """This holds what a control is compared with, and what is known of the difference."""

    share: str
    """What the difference is called, as printed: "zoom", "count"."""
    minus: str
    """Name of the generator that is subtracted."""
    expects: Truth | None = None
    """The true difference where it is known by construction: none, or a gain."""


OptionsT = TypeVar("OptionsT", bound=Strict)


class Generator(Adapter, ABC, Generic[OptionsT]):
    """A generator turns a batch into images; an item's image depends on its own crop, mask, prompt and seed alone."""

    Options: ClassVar[type[Strict]]
    """The table [options] of the part."""

    @classmethod
    def fingerprint(cls, options: OptionsT) -> str:
        """Return what a content key says of the files that decide the result; torch-free and quick. Default: no
        files."""
        return ""

    @classmethod
    def makes(cls, options: OptionsT) -> Literal["crops", "images"]:
        """Return "crops" (`edit_placed` repaints instances, the default) or "images" (`whole` makes annotated ones)."""
        return "crops"

    @classmethod
    def unfit(cls, dataset: Dataset) -> str:
        """Return why no frame of `dataset` can be painted ("can only ..."), as a plan says it; empty, the default, when
        all can.
        """
        return ""

    @classmethod
    def stock(cls, options: OptionsT) -> Stock | None:
        """Return what lies ready in files; None (the default) for a generator that makes what it is asked for.

        A synthesis then takes these instances and variants, and no others. HarnessError for files that are not as the
        options say. Torch-free; it is asked for by every plan.
        """
        return None

    @classmethod
    def needs(cls, options: OptionsT) -> tuple[Need, ...]:
        """Return the checkpoints that are read, for plans and rehearsals. Default: none."""
        return ()

    @abstractmethod
    def __init__(self, options: OptionsT, *, device: str) -> None:
        """Get ready to paint on `device`."""

    @abstractmethod
    def edit(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        """Repaint each crop inside its mask.

        Crops are uint8 [S, S, 3] RGB, masks bool [S, S], S differs from item to item; results are uint8 [T, T, 3] in
        the same order, of any side T. Crops and masks are not written to.
        """

    def edit_placed(
        self,
        crops: list[np.ndarray],
        masks: list[np.ndarray],
        prompts: list[Prompt],
        seeds: list[int],
        places: list[Place],
    ) -> list[np.ndarray]:
        """Repaint as `edit` does, but know where each crop comes from; most generators make no use of that."""
        return self.edit(crops, masks, prompts, seeds)

    def whole(self, frame: Frame, labels: LabelSet, seed: int) -> list[Whole]:
        """Return the annotated images made from a frame, none, one or several; for a generator that makes images."""
        raise NotImplementedError(f"{type(self).__name__} makes crops")


GENERATORS: Registry[Generator[Any]] = Registry(
    "generator",
    {
        "identity": "harness.generators.controls:Identity",
        "recolor": "harness.generators.controls:Recolor",
        "blended": "harness.generators.blended:BlendedDiff",
        "folder": "harness.generators.folder:FolderGenerator",
        "diff_inpainting": "harness.generators.diff_inpainting:DiffInpainting",
        "gligen": "harness.generators.gligen:Gligen",
        "inpainting": "harness.generators.inpainting:Inpainting",
        "oracle": "harness.generators.oracle:Oracle",
    },
    base=Generator,
)


class GeneratorHead(Strict):
    """A part without its options: all that can be said before its adapter is loaded."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = {"label": True, "role": True, "control": True, "base_of": True}
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
    role: Role = "generator"
    """baseline: real frames alone. control: paints nothing new, or something whose worth is known."""
    control: Control | None = None
    """What a control is compared with."""
    base_of: str = ""
    """What a generator adds to this baseline or control, as printed; empty: generators are not compared with it."""

    @model_validator(mode="before")
    @classmethod
    def _tables(cls, part: Any, info: ValidationInfo) -> Any:
        return {key: value for key, value in part.items() if key != "options"} if isinstance(part, dict) else part

    @model_validator(mode="after")
    def _compared(self) -> Self:
        if (self.role == "control") != (self.control is not None):
            raise ValueError('role = "control" and a table [control] belong together')
        return self


class GeneratorPart(GeneratorHead):
    """configs/generators/<name>.toml, its options parsed by the model of the adapter that it names."""

    options: Annotated[Strict, AS_GIVEN]
    """The adapter's own settings."""

    @model_validator(mode="before")
    @classmethod
    def _tables(cls, part: Any, info: ValidationInfo) -> Any:
        if not isinstance(part, dict) or "adapter" not in part:
            return part
        return part | {"options": parse_table(GENERATORS.load(part["adapter"]).Options, part, "options", info)}

    @property
    def fingerprint(self) -> str:
        """Return what a content key says of the files that decide the result."""
        return GENERATORS.load(self.adapter).fingerprint(self.options)

    @property
    def makes(self) -> Literal["crops", "images"]:
        """Return whether it makes "crops" or "images"."""
        return GENERATORS.load(self.adapter).makes(self.options)

    @property
    def stock(self) -> Stock | None:
        """Return what lies ready in files, looked up now; None for a generator that makes what it is asked for."""
        return GENERATORS.load(self.adapter).stock(self.options)

    def check_unchanged(self, planned: str) -> None:
        """Raise HarnessError when files that decide the result are not those of a plan, whose fingerprint is `planned`
        (empty: there was no plan)."""
        if planned and self.fingerprint != planned:
            raise HarnessError(
                f"generator {self.label}: its files have changed since this run was planned",
                hint="run the same command again: it plans anew",
            )

    @property
    def needs(self) -> tuple[Need, ...]:
        """The checkpoints that it reads."""
        return GENERATORS.load(self.adapter).needs(self.options)

    def build(self, device: str = "cpu") -> Generator[Any]:
        """Return the generator, ready on `device`."""
        return GENERATORS.load(self.adapter)(self.options, device=device)


def compared_with(part: GeneratorHead, others: Mapping[str, GeneratorHead]) -> dict[str, str]:
    """Return what `part` is compared with: name of another generator to what the difference is called.

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


def checked(images: list[np.ndarray], count: int, generator: str) -> list[np.ndarray]:
    """`images` if they are `count` square uint8 RGB arrays, else a HarnessError that names the generator."""
    if len(images) != count:
        raise HarnessError(f"generator {generator!r} returned {len(images)} images for {count} crops")
    for image in images:
        shape: tuple[int, ...] = getattr(image, "shape", ())
        dtype = getattr(image, "dtype", type(image).__name__)
        if dtype != np.uint8 or len(shape) != 3 or shape[0] != shape[1] or shape[2] != 3 or shape[0] == 0:
            found = f"{'x'.join(map(str, shape)) or 'no'} array of {dtype}"
            raise HarnessError(f"generator {generator!r} returned a {found}; expected a square SxSx3 array of uint8")
    return images
