"""A mix joins real and synthetic frames into one training stream.

The stream is a function of (seed, position): which frame stands at position i, and with which seed it is cropped, does
not depend on workers, on resume or on who asks. Budgets are counted in positions, so every arm of a table sees equally
many images.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from harness.core.config import Grown
from harness.core.errors import HarnessError
from harness.core.seeds import derive
from harness.data.base import Dataset, Frame
from harness.data.labels import LabelSet
from harness.data.tree import Tree, TreeFrame


class Mix(Grown):
    """This says how synthetic frames join the real ones.

    `concat`: all frames are one set and take turns (the paper). `probability`: real frames take turns, and each is
    replaced, with probability `probability`, by one of the synthetic frames made from it (the protocol of DA-Fusion,
    Trabucco et al. 2023); a frame from which none was made stays.
    """

    LATER = frozenset({"labels"})

    kind: Literal["concat", "probability"] = "concat"
    probability: float = Field(default=0.5, ge=0, le=1)
    labels: Literal["true", "shuffled"] = "true"
    """shuffled: every frame carries the labels of another one, a control from which no instance can be learnt."""

    @property
    def name(self) -> str:
        """Short and readable; empty for the default."""
        kind = f"probability {self.probability:g}" if self.kind == "probability" else ""
        return ", ".join(part for part in (kind, "shuffled labels" if self.labels == "shuffled" else "") if part)


class Draw(NamedTuple):
    """One position of the stream: the frame, and the seed of everything random that is done to it."""

    frame: Frame
    seed: int


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Frames in training order."""

    labels: LabelSet
    real: tuple[Frame, ...]
    synthetic: tuple[Frame, ...]
    mix: Mix
    seed: int

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Every frame that can occur."""
        return self.real + self.synthetic

    def at(self, position: int) -> Draw:
        """The draw at a position (0, 1, 2, ...)."""
        turns = len(self.frames if self.mix.kind == "concat" else self.real)
        epoch, turn = divmod(position, turns)
        index = int(_order(derive(self.seed, "epoch", epoch), turns)[turn])
        return Draw(self._frame(index, position), derive(self.seed, "sample", position))

    def _frame(self, index: int, position: int) -> Frame:
        if self.mix.kind == "concat":
            return self.frames[index]
        frame = self.real[index]
        made = self._by_source.get(frame.name, [])
        rng = np.random.default_rng(derive(self.seed, "mix", position))
        if rng.random() >= self.mix.probability or not made:
            return frame
        return made[rng.integers(len(made))]

    @cached_property
    def _by_source(self) -> dict[str, list[Frame]]:
        made: dict[str, list[Frame]] = {}
        for frame in self.synthetic:
            made.setdefault(source_name(frame), []).append(frame)
        return made


def stream(
    dataset: Dataset,
    synthesis: Path | None,
    mix: Mix,
    seed: int,
    *,
    split: str = "train",
    reads: Literal["ids", "outlines"] = "ids",
) -> Stream:
    """The training stream of a data set and, where there is one, of the synthetic tree made from it.

    With `reads` "outlines" a synthetic frame carries its outlineIds where the tree has them: what polygons made of the
    labels. (Those of real frames were drawn from polygons already.)
    """
    real: tuple[Frame, ...] = tuple(dataset.frames(split))
    made = _made(synthesis, dataset, split) if synthesis else []
    synthetic: tuple[Frame, ...] = tuple(frame.outlined() if reads == "outlines" else frame for frame in made)
    if mix.labels == "shuffled":
        real, synthetic = shuffled(real, derive(seed, "labels")), shuffled(synthetic, derive(seed, "labels"))
    return Stream(labels=dataset.labels, real=real, synthetic=synthetic, mix=mix, seed=seed)


def _made(synthesis: Path, dataset: Dataset, split: str) -> list[TreeFrame]:
    tree = Tree(synthesis)
    if tree.labels.fingerprint != dataset.labels.fingerprint:
        raise HarnessError(
            f"{synthesis}: its labels are {tree.labels.name}, those of the data set {dataset.labels.name}"
        )
    return tree.frames(split)


def shuffled(every: tuple[Frame, ...], seed: int) -> tuple[Frame, ...]:
    """Return the same frames, each with the annotation of another one (a lone frame keeps its own)."""
    order = _order(seed, len(every))
    donor = {int(order[k - 1]): every[index] for k, index in enumerate(order)}
    return tuple(frame.annotated_as(donor[k]) for k, frame in enumerate(every))


def source_name(frame: Frame) -> str:
    """Return the real frame that a focused crop <city>-<instance>-<variant>_<sequence>_<frame> was made from; else its
    own name.
    """
    first, _, rest = frame.name.partition("_")
    pieces = first.rsplit("-", 2)
    return f"{pieces[0]}_{rest}" if len(pieces) == 3 and all(piece.isdigit() for piece in pieces[1:]) else frame.name


@lru_cache(maxsize=4)
def _order(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)
