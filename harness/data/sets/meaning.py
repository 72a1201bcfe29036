"""This module maps the values that a data set's files hold to classes, and classes to labels.

Labels are the data set's own, or those of Cityscapes where a class says which of them it is. Not here: how files are
decoded (decoders), where they lie (the adapters).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from harness.core.config import Strict
from harness.core.errors import HarnessError, near
from harness.data.cityscapes import CITYSCAPES
from harness.data.labels import ID_COUNT, IGNORE, Label, LabelSet

DIVISOR = 256
"""Of label sets that are made here: 255 classes of 256 instances each."""

VOID = "void"


class Class(Strict):
    """A class of a data set. Several codes may have one name, and are one class then."""

    code: int = Field(ge=0, lt=ID_COUNT)
    """What the files hold."""
    name: str = Field(min_length=1)
    thing: bool = False
    """Whether instances of it are told apart."""
    category: str = ""
    """The group whose IoU is scored too; empty for none."""
    color: tuple[int, int, int] = (0, 0, 0)
    evaluated: bool = True
    """False: its pixels are void."""
    cityscapes: str | None = None
    """The label of Cityscapes that it is; absent: that of its name; empty: its pixels are void there."""


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """This holds what the codes of files mean: the labels, and the label id of each code."""

    labels: LabelSet
    label_ids: Mapping[int, int]
    alone: frozenset[int] = frozenset()
    """Codes whose pixels are no instances, whatever number they have."""

    def ids(self, codes: np.ndarray, numbers: np.ndarray, source: object) -> np.ndarray:
        """Ids of pixels uint16 [H, W] of codes and numbers of instances, both integers [H, W]; a number below 0: none.

        Instances of a label are numbered anew, by code and number, since several codes may be one label. A pixel of a
        thing without a number becomes a group. HarnessError, with `source`, for a code of no class, and for more
        instances than the label set can hold.
        """
        present = np.unique(codes)
        if strange := [code for code in present.tolist() if code not in self.label_ids]:
            raise HarnessError(
                f"{source}: the value {strange[0]} is of no class",
                hint=f"classes of {self.labels.name} have the values {_ranges(self.label_ids)}",
            )
        table = np.array([self.label_ids[code] for code in present.tolist()], np.int64)
        label_ids = table[np.searchsorted(present, codes)]
        things = np.zeros(256, bool)
        things[[label.id for label in self.labels.labels if label.is_thing]] = True
        inside = things[label_ids] & (numbers >= 0)
        if self.alone:
            inside &= ~np.isin(codes, list(self.alone))
        found = label_ids.astype(np.uint16)
        if inside.any():
            wide = codes[inside].astype(np.int64) << 32 | numbers[inside].astype(np.int64)
            instances, place = np.unique(wide, return_inverse=True)
            found[inside] = self._numbered((instances >> 32).tolist(), source)[place]
        return found

    def _numbered(self, codes: Sequence[int], source: object) -> np.ndarray:
        """Return the ids of instances of the codes: those of a label count from 0."""
        count: dict[int, int] = {}
        ids = np.empty(len(codes), np.uint16)
        for place, code in enumerate(codes):
            label = self.label_ids[code]
            number = count.get(label, 0)
            if number >= self.labels.divisor:
                name = self.labels.by_id[label].name
                raise HarnessError(f"{source}: more than {self.labels.divisor} instances of {name}")
            count[label], ids[place] = number + 1, self.labels.divisor * label + number
        return ids


def own(name: str, classes: Iterable[Class], where: object, void: Iterable[int] = ()) -> Meaning:
    """Return the classes as a label set of their own. A label id is the first code of its class where all of these are
    from 1 to 255, else its place in the list.

    `void`: codes of pixels that nobody annotated. HarnessError, with `where`, for classes that are no label set.
    """
    classes = list(classes)
    _once([one.code for one in classes] + list(void), where)
    named: dict[str, Class] = {}
    for one in classes:
        if not one.evaluated:
            continue
        first = named.setdefault(one.name, one)
        if (first.thing, first.category) != (one.thing, one.category):
            raise HarnessError(f"{where}: the class {one.name!r} is described in two ways")
    if not named or VOID in named:
        lack = f"{VOID!r} is no name of a class that is evaluated" if named else "no class is evaluated"
        raise HarnessError(f"{where}: {lack}")
    if len(named) >= DIVISOR:
        raise HarnessError(f"{where}: {len(named)} classes, and there can be {DIVISOR - 1}")
    fit = all(0 < one.code < DIVISOR for one in named.values())
    labels = [
        Label(
            id=one.code if fit else place + 1,
            name=one.name,
            train_id=place,
            category=one.category,
            is_thing=one.thing,
            color=one.color,
        )
        for place, one in enumerate(named.values())
    ]
    void_label = Label(id=0, name=VOID, train_id=IGNORE)
    made = LabelSet(name=name, labels=(void_label, *labels), divisor=DIVISOR)
    ids = {one.code: made.by_name[one.name].id if one.evaluated else 0 for one in classes}
    return Meaning(labels=made, label_ids=dict.fromkeys(void, 0) | ids)


def cityscapes(classes: Iterable[Class], where: object, void: Iterable[int] = ()) -> Meaning:
    """Map the classes to the labels of Cityscapes that they name; HarnessError, with `where`, for an unknown name."""
    classes = list(classes)
    _once([one.code for one in classes] + list(void), where)
    named = {one.code: one.name if one.cityscapes is None else one.cityscapes for one in classes if one.evaluated}
    names = {code: name for code, name in named.items() if name}
    for name in names.values():
        if name not in CITYSCAPES.by_name or CITYSCAPES.by_name[name].id < 0:
            raise HarnessError(f"{where}: Cityscapes has no label {name!r}", hint=near(name, CITYSCAPES.by_name))
    ids = {code: CITYSCAPES.by_name[name].id for code, name in names.items()}
    nothing = [*void, *(one.code for one in classes if one.code not in names)]
    return Meaning(labels=CITYSCAPES, label_ids=dict.fromkeys(nothing, CITYSCAPES.void) | ids)


def _once(codes: Sequence[int], where: object) -> None:
    if twice := sorted({code for code in codes if codes.count(code) > 1}):
        raise HarnessError(f"{where}: the value {twice[0]} is that of two classes")


def _ranges(codes: Iterable[int]) -> str:
    """Ascending codes as text: 0-18, 255."""
    runs: list[list[int]] = []
    for code in sorted(codes):
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
