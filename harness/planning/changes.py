"""This module holds what a command changes of a suite without a file: which rows run, more rows, seeds, keys of parts.

A setting is recorded in the rows that it concerns, and names the plan, so that nothing is compared with rows that were
made otherwise.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from harness.core.config import merge, parse
from harness.core.errors import HarnessError, near
from harness.data.base import DatasetPart
from harness.planning.suite import Arm, Profile, Suite, as_dataset_part, load_part, names, profile_table
from harness.segmenters.base import SegmenterPart

MOST_SEEDS = 1000
"""A slip of a digit more is told instead of planned."""
KINDS = ("assessments", "datasets", "generators", "profiles", "recipes", "segmenters")
"""The kinds of parts whose keys can be set."""

ADDED = "Added"
"""The method of rows that a command adds of a generator."""

_FACTORS = ("generator", "recipe", "segmenter", "backbone")
_LONGEST = 60


class Selectable(Protocol):
    """This protocol holds the fields of a row that `only` and `without` look at."""

    @property
    def name(self) -> str: ...
    @property
    def generator(self) -> str: ...
    @property
    def recipe(self) -> str | None: ...
    @property
    def segmenter(self) -> str | None: ...
    @property
    def backbone(self) -> str | None: ...


Chosen = TypeVar("Chosen", bound=Selectable)


class Setting(NamedTuple):
    """One key of one part and its new value."""

    kind: str
    name: str
    keys: tuple[str, ...]
    value: Any

    @property
    def path(self) -> str:
        """The key as it is written: segmenters.oneformer.training.iterations."""
        return ".".join((self.kind, self.name, *self.keys))

    @property
    def table(self) -> dict[str, Any]:
        """The value in its tables, to be laid over the part."""
        *outer, last = self.keys
        table: dict[str, Any] = {last: self.value}
        for key in reversed(outer):
            table = {key: table}
        return table


def seeds_of(asked: int | Sequence[int]) -> tuple[int, ...]:
    """Return the seeds 0 to `asked` - 1, or these; HarnessError for what is none, stands twice or is too many or too
    large.
    """
    many = range(asked) if isinstance(asked, int) and 0 < asked <= MOST_SEEDS else ()
    chosen = tuple(many if isinstance(asked, int) else sorted(asked))
    if not chosen or len(set(chosen)) < len(chosen) or not all(0 <= seed < 2**63 for seed in chosen):
        raise HarnessError(
            f"seeds {asked!r}: expected a number from 1 to {MOST_SEEDS}, or distinct seeds from 0 to 2^63 - 1"
        )
    return chosen


def parse_setting(text: str) -> Setting:
    """`kind.name.key=value` as a setting; the value is TOML, and text that is no TOML stands for itself.

    HarnessError when it is not of that form or names a kind or a part that there is not.
    """
    path, equals, value = text.partition("=")
    pieces = path.strip().split(".")
    if not equals or len(pieces) < 3 or not all(pieces):
        raise HarnessError(
            f"--set {text!r}: expected KIND.NAME.KEY=VALUE", hint="such as segmenters.oneformer.training.iterations=500"
        )
    kind, name, *keys = pieces
    if kind not in KINDS:
        raise HarnessError(f"--set {text!r}: there are no {kind!r}", hint=near(kind, KINDS))
    if name not in names(kind):
        raise HarnessError(f"--set {text!r}: unknown {kind.removesuffix('s')} {name!r}", hint=near(name, names(kind)))
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        parsed = value.strip()
    return Setting(kind, name, tuple(keys), parsed)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """All that one command changes. `recipe`: for rows that name none, in place of the profile's.

    `only` and `without` name parts, or whole rows, that stay and that go; `added` names generators
    and segmenters that get rows beside those of the suite; no `seeds`: those of the suite or profile.
    """

    recipe: str = ""
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    settings: tuple[Setting, ...] = ()

    @property
    def suffix(self) -> str:
        """Return the suffix of the plan's name: rows that are made otherwise belong to no baseline of the suite."""
        said = [self.recipe] if self.recipe else []
        said += [_slug(*(f"{one.path}={one.value}" for one in self.settings))] if self.settings else []
        return "".join(f"-{one}" for one in said)

    @property
    def selection(self) -> str:
        """Return what the report of a selection of rows and seeds is called beside the plan's name."""
        said = {"with": self.added, "only": self.only, "without": self.without, "seeds": self.seeds}
        return "".join(f"-{_slug(what, *map(str, given))}" for what, given in said.items() if given)

    @property
    def text(self) -> str:
        """Return what titles say of it; empty where nothing is changed."""
        said = [f"recipe {self.recipe}"] if self.recipe else []
        said += [f"{one.path} = {one.value}" for one in self.settings]
        said += [f"only {', '.join(self.only)}"] if self.only else []
        said += [f"without {', '.join(self.without)}"] if self.without else []
        return "; ".join(said)

    def arms(self, found: Sequence[Arm], parts: "Parts") -> list[Arm]:
        """Return the rows of a suite after the change; HarnessError as of `kept`."""
        rows = list(found)
        for name in sorted(self.added, key=lambda name: name not in names("generators")):
            rows += _added(
                name, rows, parts
            )  # segmenters last: they may have runs on the generators that come with them
        return self.kept(rows)

    def kept(self, rows: Sequence[Chosen], of: str = "the suite") -> list[Chosen]:
        """Return the rows that `only` and `without` leave; HarnessError for a name that no row has, and when none is
        left.
        """
        for name in (*self.only, *self.without):
            known = {one for row in rows for one in _names_of(row)}
            if name not in known:
                raise HarnessError(f"no row of {of} has {name!r}", hint=near(name, known))
        kept = [row for row in _chosen(rows, self.only) if not set(self.without) & _names_of(row)]
        if not kept:
            raise HarnessError("no row is left", hint=f"--only and --without leave none of the rows of {of}")
        return kept

    def on(self, profile: Profile) -> Profile:
        """Return the profile with the recipe that was asked for."""
        if not self.recipe:
            return profile
        return profile.model_copy(update={"synthesis": profile.synthesis.model_copy(update={"recipe": self.recipe})})

    def seeded(self, suite: Suite) -> Suite:
        """Return the suite with the seeds that were asked for."""
        return suite.model_copy(update={"seeds": list(self.seeds)}) if self.seeds else suite


class Parts:
    """Reads the parts of configs/ as a profile has them, with settings laid over them; it remembers which were used."""

    def __init__(self, profile_name: str, settings: Iterable[Setting] = ()) -> None:
        self.profile_name, self.settings = profile_name, tuple(settings)
        self._used: set[tuple[str, str]] = set()

    def profile(self) -> Profile:
        """Read the profile, with its settings laid over it."""
        table = self._set("profiles", self.profile_name, *profile_table(self.profile_name))
        return parse(Profile, *table).called(self.profile_name)

    def part(self, kind: str, name: str) -> tuple[dict[str, Any], Path | str]:
        """Return a part as a table for its model to parse, and its file, as messages name it."""
        return self._set(kind, name, *load_part(kind, name, self.profile_name))

    def dataset(self, name: str) -> DatasetPart:
        """The part of a data set."""
        return as_dataset_part(*self.part("datasets", name))

    def check_used(self) -> None:
        """Raise HarnessError for a setting of a part that nothing has asked for."""
        for one in self.settings:
            if (one.kind, one.name) not in self._used:
                raise HarnessError(
                    f"--set {one.path}: no row of the suite uses it",
                    hint=near(one.name, [name for kind, name in self._used if kind == one.kind]),
                )

    def _set(self, kind: str, name: str, data: dict[str, Any], path: Path) -> tuple[dict[str, Any], Path | str]:
        self._used.add((kind, name))
        mine = [one for one in self.settings if (one.kind, one.name) == (kind, name)]
        for one in mine:
            data = merge(data, one.table)
        return data, f"{path} with --set {' '.join(one.path for one in mine)}" if mine else path

    def concerning(self, row: Arm, recipe: str) -> dict[str, str]:
        """Return the settings that affect a row with that recipe: path to value."""
        parts = {
            "generators": row.generator,
            "segmenters": row.segmenter,
            "recipes": recipe,
            "profiles": self.profile_name,
        }
        return {one.path: str(one.value) for one in self.settings if parts.get(one.kind, one.name) == one.name}


def _added(name: str, rows: Sequence[Arm], parts: "Parts") -> list[Arm]:
    """Return the rows of the generator or segmenter called `name`: a generator with every network of the suite, a
    segmenter with every generator of it that there can be a run of.
    """
    kinds = [kind for kind in ("generators", "segmenters") if name in names(kind)]
    if len(kinds) != 1:
        known = [*names("generators"), *names("segmenters")]
        what = "there are a generator and a segmenter" if kinds else "there is no generator and no segmenter"
        raise HarnessError(f"--with {name}: {what} of this name", hint="" if kinds else near(name, known))
    if any(name in (row.generator, row.segmenter) for row in rows):
        raise HarnessError(f"the suite has rows of {name!r} already", hint="leave --with out")

    def row(method: str, generator: str, segmenter: str | None, backbone: str | None) -> Arm:
        return Arm(
            method=method,
            version=None,
            generator=generator,
            recipe=None,
            segmenter=segmenter,
            backbone=backbone,
            note="",
        )

    if kinds == ["generators"]:
        networks = dict.fromkeys((one.segmenter, one.backbone) for one in rows)
        return [row(ADDED, name, *network) for network in networks]
    if not all(one.segmenter for one in rows):
        raise HarnessError(f"--with {name}: the suite trains no segmenter")
    part = parse(SegmenterPart, *parts.part("segmenters", name))
    generators = dict.fromkeys(one.generator for one in rows)
    return [
        row(part.label, one, name, backbone) for backbone in part.backbones for one in part.on(generators, backbone)
    ]


def _names_of(row: Selectable) -> set[str]:
    return {row.name, *(value for factor in _FACTORS if (value := getattr(row, factor)))}


def _chosen(rows: Sequence[Chosen], only: Sequence[str]) -> list[Chosen]:
    """Return the rows that are called so, and those whose level of each factor that is named at all is a named one."""
    levels = {factor: {getattr(row, factor) for row in rows} & set(only) for factor in _FACTORS}
    asked = {factor: wanted for factor, wanted in levels.items() if wanted}
    return [
        row
        for row in rows
        if not only
        or row.name in only
        or (asked and all(getattr(row, factor) in wanted for factor, wanted in asked.items()))
    ]


def _slug(*words: str) -> str:
    """Words as part of a file name, with a hash where they are too long for one."""
    text = re.sub(r"[^A-Za-z0-9]+", "-", "-".join(words)).strip("-")
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}-{hashlib.sha256('-'.join(words).encode()).hexdigest()[:6]}"
