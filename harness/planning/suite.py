"""A suite asks a question; this file reads it, with the profile and the parts that its arms name.

`Suite` (suites/*.toml) enumerates generator x segmenter x backbone; `Profile` (configs/profiles/*.toml) sets data,
seeds and sizes; a part (configs/<kind>/*.toml) says how one named thing is built, with overlays for the profiles that
differ. Nothing here runs anything: plan.py turns arms into steps.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from harness.core.config import Strict, merge, parse, read_toml
from harness.core.errors import HarnessError, near
from harness.core.paths import CONFIGS, SUITES, working_folder
from harness.core.resources import Resources
from harness.data.base import DatasetPart, part_model
from harness.data.mix import Mix
from harness.stages import STAGES


def distinct(values: list[int]) -> list[int]:
    """`values`; ValueError when one stands twice."""
    if len(set(values)) < len(values):
        raise ValueError("expected distinct numbers")
    return values


Names = str | Annotated[list[str], Field(min_length=1)]
Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1), AfterValidator(distinct)]


class SynthesisScale(Strict):
    """This says how much a profile synthesises. `frames`: only the first so many train frames; absent: all."""

    recipe: str
    seed: int = Field(ge=0)
    top_k: int = Field(ge=1)
    variants: int = Field(ge=1)
    frames: int | None = Field(default=None, ge=1)


class Profile(Strict):
    """A scale at which suites run. `comparable`: whether its numbers may stand beside published ones."""

    label: str
    caption: str
    comparable: bool = False
    extends: str | None = None
    dataset: str
    seeds: Seeds
    synthesis: SynthesisScale
    confidence: float = Field(default=0.8, ge=0, le=1)
    """How sure an instance must be to be drawn in reports: of every row alike."""
    minutes: dict[str, float] = {}
    resources: dict[str, dict[str, Any]] = {}
    """By stage, what its steps need of a machine, where that is not what the stage says."""
    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """The name of its file, by which rows know it; the label is what is printed."""
        return self._name or self.label

    def called(self, name: str) -> "Profile":
        """Return the profile with the name of its file."""
        self._name = name
        return self

    @model_validator(mode="after")
    def _resources_of_stages(self) -> "Profile":
        if unknown := sorted(self.resources.keys() - STAGES.keys()):
            raise ValueError(f"resources: no stage {unknown[0]!r}; stages are {', '.join(STAGES)}")
        self.needs()
        return self

    def estimate(self, kind: str) -> float | None:
        """Core-minutes of a step of a kind; None where nothing is known of it."""
        return self.minutes.get(kind, 0.0 if self.minutes and STAGES[kind].quick else None)

    def needs(self) -> dict[str, Resources]:
        """Return what the steps of each stage need."""
        return {
            kind: Resources.model_validate({**stage.resources.model_dump(), **self.resources.get(kind, {})})
            for kind, stage in STAGES.items()
        }


class SuiteRows(Strict):
    """Rows of a table: the product of the named parts. `recipe` defaults to the profile's."""

    method: str
    generator: Names
    segmenter: Names | None = None
    backbone: Names | None = None
    recipe: Names | None = None
    mix: Mix | Annotated[list[Mix], Field(min_length=1)] | None = None
    """How the added frames join the real ones; default: all are one set. A list is one more factor of the product."""
    version: str | None = None
    note: str = ""


class Suite(Strict):
    """One question, one table. `published`: the paper's table whose printed rows stand beside ours."""

    title: str
    question: str
    kind: Literal["segmentation", "image_quality"] = "segmentation"
    published: int | str | None = None
    counterparts: dict[str, str] = {}
    """Backbone name, or version as printed here, to what the paper prints for it: the row that stands beside ours."""
    seeds: Seeds | None = None
    metrics: list[str] = []
    """Metrics of plug-ins that every evaluation computes too."""
    rows: list[SuiteRows] = Field(min_length=1)
    table: dict[str, Any] = {}

    @model_validator(mode="after")
    def _says_what_it_runs(self) -> "Suite":
        for number, rows in enumerate(self.rows):
            if self.kind == "segmentation" and (rows.segmenter is None or rows.backbone is None):
                raise ValueError(f"rows.{number}: a segmentation row names a segmenter and a backbone")
            if self.kind == "image_quality" and rows.segmenter is not None:
                raise ValueError(f"rows.{number}: an image-quality row trains no segmenter")
        named = Counter(arm.name for arm in arms(self))
        if twice := sorted(name for name, count in named.items() if count > 1):
            raise ValueError(f"rows: {', '.join(twice)} stands twice")
        return self


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm of the comparison: a row of a suite's table, before it is run."""

    method: str
    version: str | None
    generator: str
    recipe: str | None
    segmenter: str | None
    backbone: str | None
    note: str
    mix: Mix = field(default_factory=Mix)

    @property
    def name(self) -> str:
        """A readable name, unique in its suite."""
        parts = (self.generator, self.recipe, self.segmenter, self.backbone, self.mix.name)
        return "/".join(part for part in parts if part)


def arms(suite: Suite) -> Iterator[Arm]:
    """The rows of `suite` in the order they are written, products expanded left to right."""
    for rows in suite.rows:
        axes = (rows.generator, rows.recipe, rows.segmenter, rows.backbone, rows.mix)
        for generator, recipe, segmenter, backbone, mix in product(*map(_listed, axes)):
            yield Arm(
                method=rows.method,
                version=rows.version,
                generator=generator,
                recipe=recipe,
                segmenter=segmenter,
                backbone=backbone,
                note=rows.note,
                mix=mix or Mix(),
            )


def is_foreign(name: str) -> bool:
    """Return whether `name` is the path of a suite that is called as one of suites/ and is not that one."""
    path = Path(name)
    shipped = SUITES / path.name
    return name.endswith(".toml") and shipped.is_file() and path.resolve() != shipped.resolve()


def load_suite(name: str) -> Suite:
    """Return the suite suites/<name>.toml, or the file that `name` is a path of."""
    if name.endswith(".toml"):
        return parse(Suite, read_toml(Path(name)), name)
    path = _file("suites", name) if name in names("suites") else None
    if path is None:
        raise HarnessError(f"{SUITES / name}.toml: no such file", hint=near(name, names("suites")))
    return parse(Suite, read_toml(path), path)


def load_profile(name: str) -> Profile:
    """Return the profile configs/profiles/<name>.toml laid over the one it extends."""
    return parse(Profile, *profile_table(name)).called(name)


def profile_table(name: str) -> tuple[dict[str, Any], Path]:
    """Return the same as a table, and its file."""
    data: dict[str, Any] = {}
    for link in reversed(profile_chain(name)):
        data = merge(data, read_toml(_part_path("profiles", link)))
    return data, _part_path("profiles", name)


def profile_chain(name: str) -> list[str]:
    """`name`, the profile it extends, and so on; the overlay of an earlier one lies over those of later ones."""
    chain = [name]
    while base := read_toml(_part_path("profiles", chain[-1])).get("extends"):
        if base in chain:
            raise HarnessError(
                f"{_part_path('profiles', name)}: key 'extends': {' -> '.join([*chain, base])} is a circle"
            )
        chain.append(base)
    return chain


def load_dataset_part(name: str, profile: str) -> DatasetPart:
    """The data set configs/datasets/<name>.toml as `profile` has it."""
    return as_dataset_part(*load_part("datasets", name, profile))


def as_dataset_part(content: dict[str, Any], path: Path | str) -> DatasetPart:
    """The table of a data set, parsed by its own model, so that an unknown key is told with the known ones."""
    return parse(part_model(content), content, path)


def load_part(kind: str, name: str, profile: str) -> tuple[dict[str, Any], Path]:
    """Return the part configs/<kind>/<name>.toml as `profile` has it (a table for its model to parse), and its file.

    A part that `extends` another is laid over that one as the profile has it.
    """
    path = _part_path(kind, name)
    data, _ = _laid_over(kind, [name], profile)
    return data, path


def _laid_over(kind: str, chain: list[str], profile: str) -> tuple[dict[str, Any], Path]:
    """Return the last part of `chain`, whose others extend it one by one, over what it extends itself."""
    path = _part_path(kind, chain[-1])
    data = read_toml(path)
    base, overlays = data.pop("extends", None), data.pop("profiles", {})
    for overlay in overlays:
        if overlay not in names("profiles"):
            raise HarnessError(
                f"{path}: key 'profiles.{overlay}': no such profile", hint=near(overlay, names("profiles"))
            )
    for link in reversed(profile_chain(profile)):
        data = merge(data, overlays.get(link, {}))
    if base is None:
        return data, path
    if base in chain:
        raise HarnessError(f"{path}: key 'extends': {' -> '.join([*chain, base])} is a circle")
    return merge(_laid_over(kind, [*chain, base], profile)[0], data), path


def names(kind: str) -> list[str]:
    """The names of all parts of a kind ("generators", "segmenters", ...), or of all "suites"."""
    return sorted({path.stem for folder in folders(kind) for path in folder.glob("*.toml")})


def folders(kind: str) -> list[Path]:
    """Return where the files of a kind are looked for: of the folder in which the command runs, then what is
    shipped."""
    here, below = working_folder(), Path("suites") if kind == "suites" else Path("configs", kind)
    shipped = SUITES if kind == "suites" else CONFIGS / kind
    return [shipped] if here is None else [here / below, shipped]


def _file(kind: str, name: str) -> Path | None:
    """Return the file that is called so."""
    return next((path for folder in folders(kind) if (path := folder / f"{name}.toml").is_file()), None)


def _part_path(kind: str, name: str) -> Path:
    path = _file(kind, name) if name in names(kind) else None
    if path is None:
        wanted = folders(kind)[-1] / f"{name}.toml"
        raise HarnessError(f"unknown {kind.rstrip('s')} {name!r}: there is no {wanted}", hint=near(name, names(kind)))
    return path


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]
