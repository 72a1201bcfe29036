"""OneFormer reads words: the task that it is asked, and the list of what an image holds, as CLIP-BPE ids.

The vocabulary is closed (three tasks and the classes of a label set), so no vocabulary file is needed: the ids of the
words of Cityscapes stand here. `clip` gives the ids that published checkpoints were trained with; `compact` numbers the
words that occur, which saves a 49,408-row embedding and knows the classes of any label set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from harness.core.errors import HarnessError
from harness.data.labels import LabelSet

Vocabulary = Literal["clip", "compact"]

_PHRASES = {
    "a": (320,), "an": (550,), "photo": (1125,), "with": (593,), "the": (518,), "task": (10549,), "is": (533,),
    "semantic": (29119, 1550), "instance": (34572,), "panoptic": (1072, 24755),
}  # fmt: skip
_CLASSES = {
    "road": (1759,), "sidewalk": (23278,), "building": (2307,), "wall": (2569,), "fence": (12679,), "pole": (8170,),
    "traffic": (3399,), "light": (1395,), "sign": (2292,), "vegetation": (33947,), "terrain": (20184,), "sky": (2390,),
    "person": (2533,), "rider": (9707,), "car": (1615,), "truck": (4629,), "bus": (2840,), "train": (3231,),
    "motorcycle": (10297,), "bicycle": (11652,),
}  # fmt: skip
_START, _END, _CLIP_SIZE, _CLIP_LENGTH = 49406, 49407, 49408, 77

_TASKS = ("instance", "semantic", "panoptic")


@dataclass(frozen=True, kw_only=True)
class Words:
    """The vocabulary for the classes of a label set.

    HarnessError on use when `clip` has no ids for a word of a class.
    """

    kind: Vocabulary
    names: tuple[str, ...]

    @classmethod
    def of(cls, kind: Vocabulary, labels: LabelSet) -> "Words":
        """Return the words for the evaluated classes."""
        return cls(kind=kind, names=tuple(label.name for label in labels.evaluated))

    @property
    def size(self) -> int:
        """Rows of the embedding. The end token is the largest id: the text encoder pools there."""
        return self._end + 1

    @cached_property
    def length(self) -> int:
        """Tokens of a text, padded with 0."""
        if self.kind == "clip":
            return _CLIP_LENGTH
        every = [task_text(task) for task in _TASKS] + texts("panoptic", self.names, len(self.names))
        every += [texts(task, (), 1)[0] for task in _TASKS]
        return max(len(self._ids(text)) for text in every)

    def tokens(self, text: str) -> np.ndarray:
        """Return a text of this vocabulary as int64 [length]; KeyError for another word (our own mistake)."""
        row = np.zeros(self.length, dtype=np.int64)
        ids = self._ids(text)
        row[: len(ids)] = ids
        return row

    def _ids(self, text: str) -> list[int]:
        start = self._end - 1
        return [start, *(i for word in text.split() for i in self._table[word]), self._end]

    @property
    def _end(self) -> int:
        return _END if self.kind == "clip" else 2 + max(i for ids in self._table.values() for i in ids)

    @cached_property
    def _table(self) -> Mapping[str, tuple[int, ...]]:
        """Words to their tokens."""
        known = _PHRASES | _CLASSES
        words = {word for name in self.names for word in name.split()}
        strange = sorted(words - known.keys())
        found = {word: known[word] for word in (*_PHRASES, *sorted(words & known.keys()))}
        if self.kind == "clip":
            if strange:
                raise HarnessError(
                    f"no CLIP tokens are known here for {strange[0]!r} of the class names",
                    hint='set vocabulary = "compact" under [model]',
                )
            return found
        numbers = {old: new for new, old in enumerate(sorted({i for ids in found.values() for i in ids}), start=1)}
        table = {word: tuple(numbers[i] for i in ids) for word, ids in found.items()}
        return table | {word: (len(numbers) + place,) for place, word in enumerate(strange, start=1)}


def task_text(task: str) -> str:
    """Return the text that names the task."""
    return f"the task is {task}"


def texts(task: str, names: Sequence[str], count: int) -> list[str]:
    """Return the text list of ONE image: a line per target (class `names`, in class order), filled with the task's line
    to `count`.

    Targets beyond `count` are dropped, as the authors do.
    """
    article = "an" if task == "instance" else "a"
    lines = [f"a photo with a {name}" for name in names][:count]
    return lines + [f"{article} {task} photo"] * (count - len(lines))
