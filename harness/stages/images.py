"""The stage images turns whole annotated images that a generator gives into training images, for one split of a data
set.

`out` becomes what a synthesis leaves: a tree (leftImg8bit, gtFine), and manifest.jsonl with one line per image. No crop
is cut, pasted or focused, so no recipe plays a part.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.core.config import Specification, read_json
from harness.core.environment import gpus
from harness.core.errors import HarnessError
from harness.core.files import write_bytes
from harness.core.progress import Report
from harness.core.seeds import derive
from harness.data.base import Frame
from harness.data.labels import LabelSet
from harness.data.tree import Tree
from harness.generators.base import GeneratorPart, Whole
from harness.stages import Inputs
from harness.synthesis import manifest
from harness.synthesis.manifest import ManifestEntry

VERSION = 1
ENTRIES = "entries"


class ImagesSpec(Specification):
    """This holds what decides the images, beside the frames they are made from."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = {"generator": GeneratorPart.NOT_IN_KEY, "weights": True}

    generator: GeneratorPart
    seed: int = Field(default=0, ge=0)
    split: str = "train"
    limit: int | None = Field(default=None, ge=1)
    """Only those of the first so many frames of the split, in the order of their names."""
    weights: str = ""
    """The fingerprint of the generator when the key was made of it; empty: none was."""


def run(spec: ImagesSpec, inputs: Inputs, out: Path, report: Report) -> dict[str, Any]:
    """Write the images of every frame of `inputs["dataset"]` into `out`, going on where an earlier call stopped.

    Facts: frames read, frames that have images, images. HarnessError for an image that can't be used, one of a frame
    that the split has not, and when there is none at all.
    """
    dataset = inputs["dataset"]
    spec.generator.check_unchanged(spec.weights)
    frames, stock = dataset.frames(spec.split), spec.generator.stock
    if stock:
        stock.check(dataset, {frame.name for frame in frames}, spec.split)
    todo, tree = frames[: spec.limit], Tree.create(out, dataset.labels)
    if not (out / manifest.NAME).exists():
        generator = spec.generator.build("cuda" if gpus() else "cpu")
        for done, frame in enumerate(todo):
            report(done, len(todo), frame.name)
            if not (record := out / ENTRIES / f"{frame.name}.json").exists():
                made = generator.whole(frame, dataset.labels, derive(spec.seed, "image", frame.name))
                lines = [_write(tree, frame, number, one, dataset.labels, spec) for number, one in enumerate(made)]
                write_bytes(record, json.dumps(lines).encode())
        _finish(out, todo, spec)
    shutil.rmtree(out / ENTRIES, ignore_errors=True)
    entries = manifest.read_manifest(out)
    report(len(todo), len(todo), "done")
    return {"frames": len(todo), "sources": len({entry.source for entry in entries}), "images": len(entries)}


def _write(tree: Tree, frame: Frame, number: int, made: Whole, labels: LabelSet, spec: ImagesSpec) -> dict[str, Any]:
    """Write one image; its line of the manifest."""
    city, sequence, place = frame.name.split("_")
    name = f"{city}-{manifest.WHOLE}-{number}_{sequence}_{place}"
    written = tree.write_frame(spec.split, frame.city, name, made.image, made.ids)
    height, width = made.ids.shape
    everything = (0, 0, width, height)
    entry = ManifestEntry(
        status="made",
        name=name,
        source=frame.name,
        city=frame.city,
        instance=manifest.WHOLE,
        variant=number,
        class_name="",
        label_id=labels.void,
        area=height * width,
        box=everything,
        square=everything,
        seed=derive(spec.seed, "image", frame.name),
        target=frame.name,
        window=everything,
        file=str(written.image.relative_to(tree.root)),
        labels=str(written.instance_ids.relative_to(tree.root)),
    )
    return entry.model_dump(mode="json")


def _finish(out: Path, todo: Sequence[Frame], spec: ImagesSpec) -> None:
    """Join the records into the manifest, whose existence means that all is there."""
    found: list[ManifestEntry] = []
    for frame in todo:
        record = read_json(out / ENTRIES / f"{frame.name}.json", "record", hint="remove it, and run again")
        found += [ManifestEntry.model_validate_json(json.dumps(line)) for line in record]
    if not found:
        raise HarnessError(f"generator {spec.generator.label}: none of the {len(todo)} frames has an image")
    write_bytes(out / manifest.NAME, manifest.render(found).encode())
