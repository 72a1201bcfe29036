"""This module reads a data set in a form of its own: its part says where the files lie, how they are coded, and what
the classes are."""

from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from harness.core.config import Strict
from harness.core.errors import HarnessError
from harness.data.base import DatasetPart
from harness.data.patterns import PartsPattern, fields_in
from harness.data.sets.decoders import Channels, Decoder, Grey
from harness.data.sets.foreign import Foreign, Found
from harness.data.sets.meaning import Class, Meaning, cityscapes, own


class FolderSplit(Strict):
    """Patterns of the files of a split, relative to the root, with {frame} and, where there are such, {city} and
    {sequence}.
    """

    images: PartsPattern
    annotations: PartsPattern

    @model_validator(mode="after")
    def _fit(self) -> Self:
        one, other = fields_in(self.images), fields_in(self.annotations)
        if one != other or "frame" not in one:
            raise ValueError("images and annotations: expected the same fields in both, with {frame}")
        return self


class FolderPart(DatasetPart):
    """This says where the files of a data set lie, how they are coded, and what its classes are."""

    train: FolderSplit
    val: FolderSplit
    encoding: Literal["classes", "product", "ids", "channels"]
    """classes: one channel holds the class. product: class x `base` + number, everywhere. ids: the same, but what is
    below `base` is a class alone. channels: the class in channel `class_channel`, the number in `number_channels`."""
    base: int = Field(default=256, ge=2, lt=1 << 16)
    class_channel: Literal["R", "G", "B", "A"] = "R"
    number_channels: str = Field(default="GB", pattern="^[RGBA]{0,3}$")
    """The higher byte first."""
    flag_channel: Literal["R", "G", "B", "A"] = "G"
    group_bits: int = Field(default=0, ge=0, lt=256)
    """Where the flags have one of these bits, things are not told apart."""
    first_number: int = Field(default=0, ge=0)
    """Numbers below it are no instance: their pixels are stuff or a group."""
    labels: Literal["own", "cityscapes"] = "own"
    """cityscapes: each class is the label of Cityscapes that it names."""
    void: tuple[int, ...] = ()
    """Values of pixels that nobody annotated."""
    classes: tuple[Class, ...] = Field(min_length=1)
    name: str = Field(default="mine", pattern="^[a-z0-9]+$")
    """Of the label set, in names of files, and of frames that name no city."""


class FolderDataset(Foreign):
    """A data set whose part describes its files."""

    Part = FolderPart
    LAYOUT: ClassVar[str] = "what the tables [train] and [val] of its part name"
    part: FolderPart

    @cached_property
    def meaning(self) -> Meaning:
        part, where = self.part, f"the classes of {self.part.label}"
        if part.labels == "cityscapes":
            return cityscapes(part.classes, where, part.void)
        return own(part.name, part.classes, where, part.void)

    def found_of(self, split: str) -> Iterator[Found]:
        part, decoder = self.part, self._decoder()
        if split not in ("train", "val"):
            raise HarnessError(f"{part.label}: no split {split!r}", hint="known: train, val")
        files: FolderSplit = getattr(part, split)
        shared = part.train.images == part.val.images
        for fields, image, annotation in self.paired(files.images, files.annotations, shared=shared):
            yield Found({"city": part.name} | fields, image, annotation, decoder)

    def _decoder(self) -> Decoder:
        part = self.part
        if part.encoding == "channels":
            return Channels(
                meaning=self.meaning,
                classes=part.class_channel,
                numbers=part.number_channels,
                first=part.first_number,
                flags=part.flag_channel,
                group_bits=part.group_bits,
            )
        base = 1 if part.encoding == "classes" else part.base
        return Grey(meaning=self.meaning, base=base, plain=part.encoding == "ids", first=part.first_number)
