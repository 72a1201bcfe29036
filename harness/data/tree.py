"""This module finds, reads and writes the frames of a tree in Cityscapes' layout.

A tree holds Cityscapes, the drawn `streets`, what a synthesis makes, and any data set that somebody writes in this
layout: with labels.json in its root it has labels of its own, without one those of Cityscapes. A frame is its image and
its instanceIds; labelIds and the panoptic files are derived from these by the official rules. Files are written under a
temporary name first. Not here: what is drawn in a frame (streets), what is done to it (synthesis), predictions.
"""

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from harness.core.config import parse, read_json
from harness.core.errors import HarnessError, near
from harness.core.files import write_bytes
from harness.core.progress import Report, silent
from harness.data import frame_names, png
from harness.data.base import IMPLIED, Dataset, DatasetPart, Frame, labels_key
from harness.data.coco_panoptic import categories, file_stem, panoptic_of
from harness.data.labels import ID_COUNT, LabelSet

LABELS = "labels.json"

_IDS = "_gtFine_instanceIds.png"


class TreeFrame(Frame):
    """A frame of a tree: `name` is <city>_<sequence>_<frame>, `city` the folder it lies in."""

    @property
    def label_ids(self) -> Path:
        """The 8-bit map of label ids beside the ids."""
        return self._beside("labelIds")

    @property
    def files(self) -> tuple[Path, ...]:
        return self.image, self.instance_ids, self.label_ids

    @property
    def outline_ids(self) -> Path:
        """Ids after a detour over polygons; only some synthetic trees have them."""
        return self._beside("outlineIds")

    def outlined(self) -> "TreeFrame":
        """Return the frame with outlineIds as its ids, where the tree has them."""
        return replace(self, instance_ids=self.outline_ids) if self.outline_ids.is_file() else self

    def _beside(self, kind: str) -> Path:
        stem, _, _ = self.instance_ids.name.rpartition("_")
        return self.instance_ids.with_name(f"{stem}_{kind}.png")

    def depth_files(self) -> tuple[Path, Path] | None:
        root = self.instance_ids.parents[3]
        disparity, camera = (
            root / kind / self.split / self.city / f"{self.name}_{kind}.{suffix}"
            for kind, suffix in (("disparity", "png"), ("camera", "json"))
        )
        return (disparity, camera) if disparity.is_file() and camera.is_file() else None


class Tree(Dataset):
    """A tree on disk."""

    LAYOUT = "leftImg8bit/ and gtFine/"

    def __init__(self, root: Path | None, part: DatasetPart | None = None) -> None:
        """Without a part: any tree, called by its folder."""
        super().__init__(root, part or DatasetPart(label=str(root), adapter="cityscapes"))

    @classmethod
    def create(cls, root: Path, labels: LabelSet) -> Self:
        """Return a tree to be written, with a file of its labels unless they are those of Cityscapes."""
        if labels_key(labels):
            write_bytes(root / LABELS, (labels.model_dump_json(indent=1) + "\n").encode())
        return cls(root)

    @cached_property
    def labels(self) -> LabelSet:
        path = self.root / LABELS
        if not path.is_file():
            return IMPLIED
        return parse(LabelSet, read_json(path, "file of labels"), path)

    def frames(self, split: str) -> list[TreeFrame]:
        """Return the frames of one split, sorted by name.

        HarnessError when the root or the split is missing or empty, a file name is not of the Cityscapes pattern, two
        frames share a name, or an image has no instanceIds or labelIds beside it.
        """
        folder = self.root / "leftImg8bit" / split
        if not folder.is_dir():
            raise _missing(self.root, split)
        found: dict[str, TreeFrame] = {}
        for image in sorted(folder.glob("*/*_leftImg8bit.png")):
            frame = self.frame(split, image.parent.name, image.name.removesuffix("_leftImg8bit.png"))
            frame_names.checked(frame.name, image)
            if frame.name in found:
                raise HarnessError(f"{image}: the frame {frame.name} lies in {found[frame.name].image.parent} too")
            for path in (frame.instance_ids, frame.label_ids):
                if not path.is_file():
                    raise HarnessError(
                        f"{image}: the image has no labels: {path} is missing", hint="unpack gtFine beside leftImg8bit"
                    )
            found[frame.name] = frame
        if not found:
            raise HarnessError(f"{folder}: no <city>/*_leftImg8bit.png in it")
        return [found[name] for name in sorted(found)]

    def truths(self, split: str) -> list[TreeFrame]:
        """Return frames that have instanceIds, sorted by name; neither images nor labelIds are needed."""
        root, folder = self.root, self.root / "gtFine" / split
        if not folder.is_dir():
            missing = root if not root.is_dir() else root / "gtFine" if not (root / "gtFine").is_dir() else folder
            known = [p.name for p in missing.parent.iterdir() if p.is_dir()] if missing == folder else []
            hint = near(split, known) if known else "give the root of a Cityscapes tree"
            raise HarnessError(f"{missing}: no such folder", hint=hint)
        found: dict[str, TreeFrame] = {}
        for path in sorted(folder.glob(f"*/*{_IDS}")):
            frame = self.frame(split, path.parent.name, path.name.removesuffix(_IDS))
            frame_names.checked(frame.name, path)
            if frame.name in found:
                other = found[frame.name].instance_ids.parent
                raise HarnessError(f"{path}: the frame {frame.name} lies in {other} too")
            found[frame.name] = frame
        if not found:
            raise HarnessError(f"{folder}: no <city>/*{_IDS} in it")
        return [found[name] for name in sorted(found)]

    def frame(self, split: str, city: str, name: str) -> TreeFrame:
        """Return where the files of a frame lie, or will."""
        truth = self.root / "gtFine" / split / city
        return TreeFrame(
            name=name,
            city=city,
            split=split,
            image=self.root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png",
            instance_ids=truth / f"{name}{_IDS}",
        )

    def write_frame(self, split: str, city: str, name: str, image: np.ndarray, ids: np.ndarray) -> TreeFrame:
        """Write image (uint8 [H, W, 3]), ids [H, W] (16 bit) and labelIds of one frame.

        Each file appears whole or not at all; HarnessError for a name, shapes or ids that the tree cannot hold.
        """
        frame_names.checked(name, self.root)
        if image.shape != (*ids.shape, 3):
            raise HarnessError(f"frame {name}: image of shape {image.shape} with ids of shape {ids.shape}")
        if ids.min() < 0 or ids.max() >= ID_COUNT:
            raise HarnessError(f"frame {name}: instance ids outside 0..{ID_COUNT - 1}")
        frame = self.frame(split, city, name)
        png.write(frame.instance_ids, ids.astype(np.uint16))
        png.write(frame.label_ids, self.labels.label_of(ids).astype(np.uint8))
        png.write(frame.image, image)
        return frame

    def write_panoptic(self, split: str, *, report: Report = silent) -> Path:
        """gtFine/<label set>_panoptic_<split>.json and its folder of PNGs, as cityscapesscripts' createPanopticImgs
        does. Returns the path of the JSON.
        """
        base = self.root / "gtFine" / file_stem(self.labels, split)
        images, annotations = [], []
        todo = self.frames(split)
        for done, frame in enumerate(todo):
            report(done, len(todo), frame.name)
            ids = frame.read_ids()
            picture, segments = panoptic_of(frame, self.labels, ids)
            png.write(base / f"{frame.name}_gtFine_panoptic.png", picture)
            file_name = f"{frame.name}_gtFine_leftImg8bit.png"
            images.append({"id": frame.name, "width": ids.shape[1], "height": ids.shape[0], "file_name": file_name})
            annotations.append(
                {"image_id": frame.name, "file_name": f"{frame.name}_gtFine_panoptic.png", "segments_info": segments}
            )
        content = {"images": images, "annotations": annotations, "categories": categories(self.labels)}
        path = base.with_suffix(".json")
        write_bytes(path, json.dumps(content, sort_keys=True, indent=4).encode())
        report(len(todo), len(todo), "panoptic")
        return path


def _missing(root: Path, split: str) -> HarnessError:
    """Return which part of <root>/leftImg8bit/<split> is not there."""
    if not root.is_dir():
        hint = "give the root of a Cityscapes tree (it holds leftImg8bit and gtFine)"
        return HarnessError(f"{root}: no such folder", hint=hint)
    images = root / "leftImg8bit"
    if not images.is_dir():
        return HarnessError(f"{root}: not a Cityscapes tree: it has no folder leftImg8bit")
    splits = [path.name for path in images.iterdir() if path.is_dir()]
    return HarnessError(f"{images}: no split {split!r}", hint=near(split, splits))
