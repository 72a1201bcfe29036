"""The folder generator gives images that somebody made elsewhere: crops of instances, or whole annotated images.

A pattern says which frame a file belongs to. Every plan looks the files up, checks names, numbers and sizes, and hashes
them; pixels are read when they are used. Nothing here paints.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from harness.core.config import Strict, read_json
from harness.core.errors import HarnessError
from harness.core.files import hash_into
from harness.data import png
from harness.data.base import Frame
from harness.data.coco_panoptic import ids_of
from harness.data.labels import LabelSet
from harness.data.mix import source_name
from harness.data.patterns import PathPattern, fields_of, matches, source_of, tells_source
from harness.data.polygons import read_polygons
from harness.data.tree import Tree
from harness.generators.base import Generator, Place, Prompt, Stock, Whole

WHOLE = 2**20
"""Files up to this size are hashed whole, of larger ones ends and blocks between: the end of a PNG is a checksum of all
its pixels."""

Annotation = Literal["source", "ids", "polygons", "panoptic"]


class FolderOptions(Strict):
    """This says where the files are, and what they are. With `crops` they are crops; with `images` whole images with
    `labels`; with neither the folder is a tree as `harness synthesize` writes it."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = {
        "folder": True,
        "crops": True,
        "images": True,
        "label_files": True,
        "segments": True,
        "split": True,
        "count": True,
    }
    """How files are found; which were found, for which frame, and what they hold is in the fingerprint."""

    folder: str = Field(min_length=1)
    """A path; one that is relative counts from the folder in which the command runs."""
    crops: PathPattern = ""
    """Pattern of square crops, with {source} and {instance}, and {variant} where there are several."""
    images: PathPattern = ""
    """Pattern of images, with {source}, and {variant} where a frame has several."""
    labels: Annotation | None = None
    """What annotates an image: the labels of its source, which it must fit pixel by pixel, or a file of its own."""
    label_files: PathPattern = ""
    """Pattern of the files that annotate, with the fields that `images` has."""
    segments: PathPattern = ""
    """Of `labels = "panoptic"`: the JSON of the panoptic PNGs, as COCO and Cityscapes have it."""
    split: str = "train"
    """Of a tree: the split whose images are taken."""
    count: int | None = Field(default=None, ge=1)
    """How many files there must be."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.crops and self.images:
            raise ValueError("crops and images: expected one of them")
        for key in ("crops", "images"):
            pattern = getattr(self, key)
            if pattern and not tells_source(pattern):
                raise ValueError(
                    f"{key}: the pattern must name the frame: {{source}}, or {{city}} {{sequence}} {{frame}}"
                )
        if self.crops and "instance" not in fields_of(self.crops):
            raise ValueError("crops: the pattern must name the id of the instance: {instance}")
        if "instance" in fields_of(self.images):
            raise ValueError("images: a whole image is of no single instance; crops are given as crops")
        if bool(self.images) != (self.labels is not None):
            raise ValueError("images and labels belong together")
        if bool(self.label_files) != (self.labels in ("ids", "polygons", "panoptic")):
            raise ValueError('label_files belong to labels = "ids", "polygons" or "panoptic"')
        if self.label_files and (lacking := fields_of(self.images) - fields_of(self.label_files)):
            raise ValueError(f"label_files: the pattern lacks {', '.join(sorted(lacking))} of images")
        if bool(self.segments) != (self.labels == "panoptic"):
            raise ValueError('segments, a JSON, belongs to labels = "panoptic"')
        return self


class _File(NamedTuple):
    """A file of the folder: what it shows, and what annotates it (None: the source frame)."""

    path: Path
    source: str
    instance: int
    variant: str
    labels: Path | None = None


class FolderGenerator(Generator[FolderOptions]):
    """Gives crops or images from files; device, masks, prompts and seeds play no part."""

    Options = FolderOptions

    @classmethod
    def makes(cls, options: FolderOptions) -> Literal["crops", "images"]:
        """Return "crops" where the options name crops, else "images"."""
        return "crops" if options.crops else "images"

    @classmethod
    def stock(cls, options: FolderOptions) -> Stock:
        """Return the files by frame and instance; HarnessError for a file that is not as the options say."""
        found = _survey(options)
        files: dict[str, dict[int, tuple[Path, ...]]] = defaultdict(dict)
        for file in found:
            files[file.source][file.instance] = (*files[file.source].get(file.instance, ()), file.path)
        return Stock(_told(options, found), dict(files))

    @classmethod
    def fingerprint(cls, options: FolderOptions) -> str:
        """Return a hash of every file with the frame, the instance and the place among the variants that it stands
        for."""
        digest = hashlib.blake2b(digest_size=16)
        for file in _survey(options):
            for path in filter(None, (file.path, file.labels)):
                digest.update(f"{file.source}\0{file.instance}\0{path.stat().st_size}\0".encode())
                hash_into(digest, path, whole=WHOLE, blocks=16)
        if options.segments:
            hash_into(digest, Path(options.folder).expanduser() / options.segments)
        return f"files:{digest.hexdigest()}"

    def __init__(self, options: FolderOptions, *, device: str) -> None:
        """`device` plays no part."""
        self.options = options
        self._files: dict[str, list[_File]] = defaultdict(list)
        for file in _survey(options):
            self._files[file.source].append(file)

    def edit(
        self, crops: list[np.ndarray], masks: list[np.ndarray], prompts: list[Prompt], seeds: list[int]
    ) -> list[np.ndarray]:
        """Raise HarnessError: a crop alone does not say which file is its."""
        raise HarnessError("a folder of crops can't paint a crop whose frame and instance it does not know")

    def edit_placed(
        self,
        crops: list[np.ndarray],
        masks: list[np.ndarray],
        prompts: list[Prompt],
        seeds: list[int],
        places: list[Place],
    ) -> list[np.ndarray]:
        """Read the crop of each place from its file; HarnessError when one can't be read."""
        return [self._crop(place) for place in places]

    def whole(self, frame: Frame, labels: LabelSet, seed: int) -> list[Whole]:
        """Return the images of the frame with their ids; HarnessError for sizes that differ and ids of no label."""
        if not self.options.images and self._tree.labels.fingerprint != labels.fingerprint:
            raise HarnessError(
                f"{self._tree.root}: its labels are {self._tree.labels.name}, those of the data set {labels.name}"
            )
        return [self._whole(file, frame, labels) for file in self._files.get(frame.name, ())]

    def _crop(self, place: Place) -> np.ndarray:
        mine = [file for file in self._files[place.frame.name] if file.instance == place.instance]
        return png.read_image(mine[place.variant].path)

    def _whole(self, file: _File, frame: Frame, labels: LabelSet) -> Whole:
        image = png.read_image(file.path)
        where = file.labels or frame.instance_ids
        if file.labels is None:
            ids = frame.read_ids()
        elif self.options.labels == "polygons":
            ids = read_polygons(file.labels, labels)
        elif self.options.labels == "panoptic":
            ids = ids_of(png.read_segments(file.labels), self._listed(file.labels), labels, str(file.labels))
        else:
            ids = png.read_ids(file.labels)
        if image.shape[:2] != ids.shape:
            raise _unequal(file.path, image.shape[:2], where, ids.shape)
        strange = ~labels.known[ids]
        if strange.any():
            raise HarnessError(
                f"{where}: id {ids[strange].min()} is of no label of {labels.name}",
                hint=f"ids are a label id, or, of a class with instances, {labels.divisor} x label id + number",
            )
        return Whole(image, ids)

    def _listed(self, path: Path) -> list[dict[str, Any]]:
        """Return the segments_info of a panoptic PNG."""
        if path.name not in self._segments:
            raise HarnessError(f"{self._json}: no annotation has the file_name {path.name!r}")
        return self._segments[path.name]

    @cached_property
    def _tree(self) -> Tree:
        return Tree(Path(self.options.folder).expanduser())

    @property
    def _json(self) -> Path:
        return Path(self.options.folder).expanduser() / self.options.segments

    @cached_property
    def _segments(self) -> Mapping[str, list[dict[str, Any]]]:
        """By name of the PNG."""
        content = read_json(self._json, "panoptic JSON")
        try:
            return {Path(one["file_name"]).name: list(one["segments_info"]) for one in content["annotations"]}
        except (KeyError, TypeError):
            raise HarnessError(
                f"{self._json}: expected a list 'annotations' of objects with file_name and segments_info"
            ) from None


def _survey(options: FolderOptions) -> list[_File]:
    """Return every file with what it stands for, by frame, instance and variant; HarnessError for what can't be
    used."""
    folder = Path(options.folder).expanduser()
    found = _of_tree(folder, options.split) if not (options.crops or options.images) else _of_patterns(folder, options)
    if options.count is not None and len(found) != options.count:
        raise HarnessError(f"{folder}: {len(found)} files, and the part says that there are {options.count}")
    found.sort(key=lambda file: (file.source, file.instance, _natural(file.variant)))
    for one, other in pairwise(found):
        if (one.source, one.instance, one.variant) == (other.source, other.instance, other.variant):
            raise HarnessError(
                f"{other.path}: {one.path} stands for the same thing",
                hint="tell them apart by {variant} in the pattern",
            )
    for file in found:
        size = png.size_of(file.path)
        if options.crops and size[0] != size[1]:
            raise HarnessError(f"{file.path}: expected a square crop, found {size[1]} x {size[0]} pixels")
        if file.labels is not None and options.labels != "polygons" and (of := png.size_of(file.labels)) != size:
            raise _unequal(file.path, size, file.labels, of)
    return found


def _of_patterns(folder: Path, options: FolderOptions) -> list[_File]:
    files = matches(folder, options.crops or options.images)
    annotations: dict[frozenset[tuple[str, str]], Path] = {}
    if options.label_files:
        names = fields_of(options.images)
        for path, fields in matches(folder, options.label_files).items():
            annotations[frozenset((name, fields[name]) for name in names)] = path
    found = []
    for path, fields in files.items():
        labels = annotations.get(frozenset(fields.items()))
        if options.label_files and labels is None:
            raise HarnessError(
                f"{path}: no file of the pattern {options.label_files!r} annotates it",
                hint=f"expected the same {', '.join(sorted(fields))}",
            )
        found.append(_File(path, source_of(fields), int(fields.get("instance", 0)), fields.get("variant", ""), labels))
    if options.segments and not (folder / options.segments).is_file():
        raise HarnessError(f"{folder / options.segments}: no such file")
    return found


def _of_tree(folder: Path, split: str) -> list[_File]:
    """Return the frames of a tree, which say by their names what they were made from."""
    return [
        _File(frame.image, source_name(frame), 0, frame.name, frame.instance_ids)
        for frame in Tree(folder).frames(split)
    ]


def _told(options: FolderOptions, files: Iterable[_File]) -> str:
    files = list(files)
    frames = len({file.source for file in files})
    what = "crops" if options.crops else "images"
    return f"{len(files)} {what} of {frames} frames from the folder {Path(options.folder).name}"


def _unequal(image: Path, size: tuple[int, ...], labels: Path, of: tuple[int, ...]) -> HarnessError:
    return HarnessError(
        f"{image}: {size[1]} x {size[0]} pixels, but its labels {labels} have {of[1]} x {of[0]}",
        hint="give an image the size of its labels: resize it, or give labels of its own",
    )


def _natural(text: str) -> list[tuple[bool, int, str]]:
    """Return a key that puts 2 before 10."""
    return [(piece.isdigit(), int(piece) if piece.isdigit() else 0, piece) for piece in re.split(r"(\d+)", text)]
