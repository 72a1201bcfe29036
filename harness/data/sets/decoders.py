"""A decoder reads one form in which files hold a class and an instance for each pixel.

Not here: what the values mean (meaning).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.core.errors import HarnessError
from harness.data import png
from harness.data.coco_panoptic import ids_of
from harness.data.sets.meaning import Meaning


@dataclass(frozen=True, kw_only=True)
class Decoder(ABC):
    """A decoder reads the ids of a frame from its annotation file."""

    meaning: Meaning

    @abstractmethod
    def ids(self, path: Path) -> np.ndarray:
        """Ids of pixels uint16 [H, W] in the encoding of the labels; HarnessError for a file that can't be meant."""


@dataclass(frozen=True, kw_only=True)
class Grey(Decoder):
    """Decodes one channel of 8 or 16 bits: class x `base` + number of the instance; without a base, the class alone.

    `plain`: a value below the base is the class alone, of a group or of stuff. A number below `first` is none.
    """

    base: int = 1
    plain: bool = False
    first: int = 0

    def ids(self, path: Path) -> np.ndarray:
        values = png.read_labels(path).astype(np.int64)
        if self.base == 1:
            return self.meaning.ids(values, np.full(values.shape, -1), path)
        codes, numbers = np.divmod(values, self.base)
        numbers[numbers < self.first] = -1
        if self.plain:
            alone = values < self.base
            codes[alone], numbers[alone] = values[alone], -1
        return self.meaning.ids(codes, numbers, path)


@dataclass(frozen=True, kw_only=True)
class Channels(Decoder):
    """Decodes 8-bit channels: the class in one, the number of the instance in others, the higher byte first.

    A number below `first` is none, and none is where a channel of flags has one of the bits `group_bits`.
    """

    classes: str = "R"
    numbers: str = "GB"
    first: int = 1
    flags: str = "G"
    group_bits: int = 0

    def ids(self, path: Path) -> np.ndarray:
        pixels = self.pixels(path)
        numbers = np.zeros(pixels.shape[:2], np.int64)
        for letter in self.numbers:
            numbers = numbers << 8 | self.channel(pixels, letter)
        numbers[numbers < self.first] = -1
        if self.group_bits:
            numbers[self.channel(pixels, self.flags) & self.group_bits != 0] = -1
        return self.meaning.ids(self.channel(pixels, self.classes), numbers, path)

    def pixels(self, path: Path) -> np.ndarray:
        """Return the channels as uint8 [H, W, 3 or 4]."""
        image = png.decoded(path)
        wanted = ("RGBA",) if "A" in self.classes + self.numbers + self.flags else ("RGB", "RGBA")
        if image.mode not in wanted:
            raise HarnessError(f"{path}: expected channels {' or '.join(wanted)}, found mode {image.mode}")
        return np.asarray(image)

    @staticmethod
    def channel(pixels: np.ndarray, letter: str) -> np.ndarray:
        """Return one channel as int64 [H, W]."""
        return pixels[..., "RGBA".index(letter)].astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Panoptic(Decoder):
    """Decodes COCO's panoptic picture of a frame, with its segments: id, category and whether it is a crowd."""

    segments: tuple[tuple[int, int, bool], ...]

    def ids(self, path: Path) -> np.ndarray:
        meaning = self.meaning
        listed = []
        for id_, category, crowd in self.segments:
            if category not in meaning.label_ids:
                raise HarnessError(f"{path}: segment {id_} is of category {category}, which is not in the list")
            listed.append({"id": id_, "category_id": meaning.label_ids[category], "iscrowd": crowd})
        return ids_of(png.read_segments(path), listed, meaning.labels, str(path))
