"""The stage predictions reads what somebody's segmenter says of the frames of one split from a folder, and writes it in
the official result formats, as the stage predict does.

Every file is decoded once and checked against the frame, so that a message names the file as its maker knows it.
"""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from harness.core.config import Specification
from harness.core.environment import cores
from harness.core.errors import HarnessError
from harness.core.files import hash_into
from harness.core.progress import Report
from harness.data import prediction_files
from harness.data.base import Frame
from harness.data.labels import IGNORE, Label, LabelSet
from harness.data.patterns import files_below
from harness.data.prediction import Instance, Prediction, Segment
from harness.segmenters.base import SegmenterPart
from harness.segmenters.predictions.adapter import located, theirs
from harness.segmenters.predictions.options import Model
from harness.stages import Inputs

if TYPE_CHECKING:
    from harness.metrics.prediction_views import Located, Segmentation

VERSION = 1
_WHOLE = 2**20
_GROUP = 32
"""Frames that are worked on between two reports."""


class PredictionsSpec(Specification):
    """This says which predictions are read: those that the fingerprint of the folder identifies."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = {
        "segmenter": {"label": True, "backbones": True, "training": True, "inference": True},
        "folder": True,
        "files": True,
    }

    segmenter: SegmenterPart
    folder: str
    """The folder of the run."""
    split: str = "val"
    files: str = ""
    """The fingerprint of the folder when the key was made of it; empty: none was."""


class Theirs(NamedTuple):
    """This says what the ids in somebody's prediction files mean."""

    name: str
    by_id: Mapping[int, Label]


def fingerprint(folder: Path) -> str:
    """A hash of names and contents of all files of a run."""
    digest = hashlib.blake2b(digest_size=16)
    for name in files_below(folder):
        digest.update(f"{name}\0{(folder / name).stat().st_size}\0".encode())
        hash_into(digest, folder / name, whole=_WHOLE, blocks=16)
    return f"files:{digest.hexdigest()}"


def run(spec: PredictionsSpec, inputs: Inputs, out: Path, report: Report) -> dict[str, Any]:
    """Write the predictions of every frame of the split into `out`, going on where an earlier call stopped.

    Facts: frames, tasks. HarnessError for a frame without a prediction, files that are malformed or do not fit their
    frames, ids of no label, and a folder that has changed since the plan.
    """
    from harness.metrics.prediction_views import locate

    folder, dataset, model = Path(spec.folder), inputs["dataset"], spec.segmenter.model
    assert isinstance(model, Model), "the part of predictions"
    if spec.files and fingerprint(folder) != spec.files:
        raise HarnessError(
            f"{folder}: its files have changed since this run was planned", hint="run the same command again"
        )
    labels, frames = dataset.labels, dataset.truths(spec.split)
    names = [frame.name for frame in frames]
    meaning = Theirs(labels.name, theirs(model, labels))
    found = {kind: locate(kind, at, spec.split, names, labels, meaning) for kind, at in located(model, folder).items()}

    def write(frame: Frame) -> None:
        if not prediction_files.written(out, frame.name):
            mine = {kind: places[frame.name] for kind, places in found.items()}
            answer = _read(frame, mine, labels, meaning)
            prediction_files.write(out, spec.split, frame.name, answer, labels, exact=True)

    with ThreadPoolExecutor(max_workers=min(8, cores())) as pool:
        for first in range(0, len(frames), _GROUP):
            report(first, len(frames), frames[first].name)
            list(pool.map(write, frames[first : first + _GROUP]))
    tasks = prediction_files.finish(out, spec.split, names, labels)
    report(len(frames), len(frames), "done")
    return {"frames": len(frames), "tasks": tasks}


def _read(frame: Frame, places: "Mapping[str, Located]", labels: LabelSet, meaning: Theirs) -> Prediction:
    """The answers for one frame, every pixel of them."""
    from harness.metrics.base import Target
    from harness.metrics.reader import Reader

    read = Reader()
    target = Target(ids=frame.read_ids(), labels=labels, source=str(frame.instance_ids))
    opened: dict[str, Any] = {kind: place.open(read, target) for kind, place in places.items()}
    given: dict[str, Any] = {}
    if "instances" in opened:
        given["instances"] = [
            Instance(one.mask > 0, meaning.by_id[one.label_id].id, one.score) for one in opened["instances"]
        ]
    if "semantic" in opened:
        given["semantic"] = _relabelled(opened["semantic"].ids, opened["semantic"].source, labels, meaning)
    if "panoptic" in opened:
        segmentation = opened["panoptic"]
        given["panoptic"], given["segments"] = _renumbered(segmentation.ids, segmentation, meaning)
    return Prediction(**given)


def _relabelled(ids: np.ndarray, source: str, labels: LabelSet, meaning: Theirs) -> np.ndarray:
    """Their label map as label ids uint8 [H, W]; 255, which trainers ignore, becomes void."""
    table = np.full(1 << 16, -1, np.int32)
    table[IGNORE] = labels.void
    for id_, label in meaning.by_id.items():
        if id_ >= 0:
            table[id_] = label.id if label.id >= 0 else labels.void
    found = table[ids]
    if (found < 0).any():
        raise HarnessError(
            f"{source}: {int(ids[found < 0].min())} is no label id of {labels.name}",
            hint="a map of other ids needs [model.categories] in the part of the predictions",
        )
    return found.astype(np.uint8)


def _renumbered(
    ids: np.ndarray, segmentation: "Segmentation", meaning: Theirs
) -> tuple[np.ndarray, tuple[Segment, ...]]:
    """Their panoptic map with segments 1, 2, ... in the order of their list."""
    dense = np.zeros(ids.shape, np.int32)
    segments = []
    left = set(np.unique(ids).tolist()) - {0}
    for number, (id_, category) in enumerate(segmentation.labels.items(), start=1):
        label = meaning.by_id.get(category)
        if label is None or label.ignored:
            raise HarnessError(
                f"{segmentation.source}: segment {id_}: category {category} is no evaluated label of {meaning.name}"
            )
        if id_ not in left:
            raise HarnessError(f"{segmentation.source}: segment {id_} of segments_info is not in the picture")
        left.remove(id_)
        segments.append(Segment(number, label.id))
        dense[ids == id_] = number
    if left:
        raise HarnessError(f"{segmentation.source}: segment {min(left)} of the picture is not in segments_info")
    return dense, tuple(segments)
