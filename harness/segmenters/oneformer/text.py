"""The words OneFormer reads: the task it is asked, and the list of what an image holds, as CLIP-BPE ids.

The vocabulary is closed (three tasks, nineteen classes), so its ids stand here and no vocabulary file is needed. `clip`
gives the ids that published checkpoints were trained with; `compact` renumbers the 32 that occur, which saves a
49,408-row embedding.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

Vocabulary = Literal["clip", "compact"]

_WORDS = {
    "a": (320,), "an": (550,), "photo": (1125,), "with": (593,), "the": (518,), "task": (10549,), "is": (533,),
    "semantic": (29119, 1550), "instance": (34572,), "panoptic": (1072, 24755),
    "road": (1759,), "sidewalk": (23278,), "building": (2307,), "wall": (2569,), "fence": (12679,), "pole": (8170,),
    "traffic": (3399,), "light": (1395,), "sign": (2292,), "vegetation": (33947,), "terrain": (20184,), "sky": (2390,),
    "person": (2533,), "rider": (9707,), "car": (1615,), "truck": (4629,), "bus": (2840,), "train": (3231,),
    "motorcycle": (10297,), "bicycle": (11652,),
}  # fmt: skip
_START, _END = 49406, 49407
_COMPACT = {old: new for new, old in enumerate([0, *sorted({i for ids in _WORDS.values() for i in ids}), _START, _END])}

SIZES: dict[Vocabulary, int] = {"clip": 49408, "compact": len(_COMPACT)}
"""Rows of the embedding. The end token is the largest id: the text encoder pools there."""

LENGTHS: dict[Vocabulary, int] = {"clip": 77, "compact": 8}
"""Tokens of a text, padded with 0."""


def task_text(task: str) -> str:
    """The question put to the network."""
    return f"the task is {task}"


def texts(task: str, names: Sequence[str], count: int) -> list[str]:
    """The text list of ONE image: a line per target (class `names`, in class order), filled with the task's line to
    `count`.

    Targets beyond `count` are dropped, as the authors do.
    """
    article = "an" if task == "instance" else "a"
    lines = [f"a photo with a {name}" for name in names][:count]
    return lines + [f"{article} {task} photo"] * (count - len(lines))


def tokens(text: str, vocabulary: Vocabulary) -> np.ndarray:
    """A text of the closed vocabulary as int64 [LENGTHS[vocabulary]]; KeyError for another word (our own mistake)."""
    ids = [_START, *(i for word in text.split() for i in _WORDS[word]), _END]
    if vocabulary == "compact":
        ids = [_COMPACT[i] for i in ids]
    row = np.zeros(LENGTHS[vocabulary], dtype=np.int64)
    row[: len(ids)] = ids
    return row
