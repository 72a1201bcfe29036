"""This module reads data sets in COCO's panoptic format: a JSON file and a folder of pictures for each split, beside
the images.

The default layout is that of COCO 2017; other data sets in this format name their files in the part.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.core.config import Strict, parse, read_json
from harness.core.errors import HarnessError
from harness.data.base import DatasetPart
from harness.data.sets.decoders import Panoptic
from harness.data.sets.foreign import Foreign, Found
from harness.data.sets.meaning import Class, Meaning, own


class PanopticSplit(Strict):
    """This says where the files of a split lie, relative to the root."""

    annotations: str
    """The JSON file: images, annotations, categories."""
    pictures: str
    """The folder of the PNGs."""
    images: str
    """The folder of the images."""


def _of_2017(split: str) -> PanopticSplit:
    stem = f"annotations/panoptic_{split}2017"
    return PanopticSplit(annotations=f"{stem}.json", pictures=stem, images=f"{split}2017")


class CocoPanopticPart(DatasetPart):
    """A data set in the panoptic format; its files are those of COCO 2017 where it says nothing."""

    train: PanopticSplit = _of_2017("train")
    val: PanopticSplit = _of_2017("val")
    name: str = Field(default="coco", pattern="^[a-z0-9]+$")
    """Of the label set, in names of files and frames."""


class CocoPanoptic(Foreign):
    """A data set in COCO's panoptic format; its categories are its labels."""

    Part = CocoPanopticPart
    LAYOUT: ClassVar[str] = "annotations/panoptic_{train,val}2017.json and .../*.png, train2017/ and val2017/"
    part: CocoPanopticPart

    @cached_property
    def meaning(self) -> Meaning:
        """The categories of val, in their order; category 0 and void are apart."""
        path = self._json("val")
        listed = self._content("val")["categories"]
        classes = [_class(one, path) for one in listed]
        return own(self.part.name, classes, path)

    def described_by(self) -> list[Path]:
        return [self._json(split) for split in ("train", "val")]

    def found_of(self, split: str) -> Iterator[Found]:
        """Yield each frame's files; HarnessError for a listed file that is missing, or a list in another format."""
        path, files = self._json(split), self._files(split)
        content, meaning = self._content(split), self.meaning
        if content["categories"] != self._content("val")["categories"]:
            raise HarnessError(f"{path}: its categories are not those of {self._json('val')}")
        pictures, images = self.root / files.pictures, self.root / files.images
        found: list[Found] = []
        try:
            image_names = {one["id"]: str(one["file_name"]) for one in content["images"]}
            for one in content["annotations"]:
                segments = tuple(
                    (int(s["id"]), int(s["category_id"]), bool(s.get("iscrowd", 0))) for s in one["segments_info"]
                )
                name, decoder = image_names[one["image_id"]], Panoptic(meaning=meaning, segments=segments)
                fields = {"city": self.part.name, "frame": Path(name).with_suffix("").as_posix().replace("/", "-")}
                found.append(Found(fields, images / name, pictures / str(one["file_name"]), decoder))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HarnessError(f"{path}: not in COCO's panoptic format: {type(error).__name__} {error}") from None
        if not found:
            raise HarnessError(f"{path}: no annotations in it")
        for kind, paths in (("image", [f.image for f in found]), ("picture", [f.annotation for f in found])):
            self.require([f"{p}: the {kind} is missing" for p in paths if not p.is_file()], len(paths), self.hint)
        yield from found

    def _files(self, split: str) -> PanopticSplit:
        if split not in ("train", "val"):
            raise HarnessError(f"{self.part.label}: no split {split!r}", hint="known: train, val")
        files: PanopticSplit = getattr(self.part, split)
        return files

    def _json(self, split: str) -> Path:
        return self.root / self._files(split).annotations

    def _content(self, split: str) -> dict[str, Any]:
        if split not in self._parsed:
            path = self._json(split)
            content = read_json(path, "panoptic JSON", hint=self.hint)
            keys = ("images", "annotations", "categories")
            if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in keys):
                raise HarnessError(f"{path}: not in COCO's panoptic format", hint=f"expected lists {', '.join(keys)}")
            self._parsed[split] = {key: content[key] for key in keys}
        return self._parsed[split]

    @cached_property
    def _parsed(self) -> dict[str, dict[str, Any]]:
        return {}


def _class(category: Any, path: Path) -> Class:
    if not isinstance(category, dict):
        raise HarnessError(f"{path}: expected a list of objects 'categories'")
    known = {
        "code": category.get("id"),
        "name": category.get("name"),
        "thing": bool(category.get("isthing", 0)),
        "category": category.get("supercategory") or "",
        "color": category.get("color") or [0, 0, 0],
    }
    return parse(Class, known, f"{path}, categories")
