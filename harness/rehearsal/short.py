"""A short plan runs the same stages, adapters and options over a few small frames, for two steps.

Frames are real ones, brought to a height of 256. Checkpoints that are missing have stand-ins.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.core.environment import gpus
from harness.core.errors import HarnessError
from harness.core.store import Store
from harness.data.base import Dataset, DatasetPart, Frame
from harness.data.tree import Tree
from harness.generators.base import GeneratorPart
from harness.planning.plan import Step, make_step
from harness.rehearsal import stand_ins
from harness.rehearsal.parts import NetworkSteps, generator_of
from harness.segmenters.base import SegmenterPart
from harness.segmenters.options import Training
from harness.stages.assess import AssessSpec
from harness.stages.predict import PredictSpec
from harness.synthesis.integrate import resize, resize_ids
from harness.synthesis.select import select

HEIGHT = 256
LEAST_AREA = 64
"""Pixels that an instance has to have left."""
CROP = (96, 192)
SIDE = 128
"""Side in pixels at which a real checkpoint paints on a processor."""


@dataclass(frozen=True)
class Some:
    """This holds steps to be made, inputs first, in the form that a run takes."""

    steps: dict[str, Step]

    def missing(self, store: Store) -> dict[str, Step]:
        """Return the steps that the store does not hold."""
        return {key: step for key, step in self.steps.items() if not store.has(step.kind, step.key)}


class Small(NamedTuple):
    """A frame brought to the height of the rehearsal."""

    frame: Frame
    image: np.ndarray
    ids: np.ndarray


def tree(dataset: Dataset, folder: Path) -> Step:
    """Two train frames that hold things and a val frame, small, as a tree of their own; the step that finds it.

    HarnessError where there are none.
    """
    made = Tree.create(folder, dataset.labels)
    chosen = itertools.islice(_with_things(dataset), 2)
    for small in (*chosen, _small(dataset.frames("val")[0])):
        made.write_frame(small.frame.split, small.frame.city, small.frame.name, small.image, small.ids)
    part = DatasetPart(label=f"{dataset.part.label}, three small frames", adapter="cityscapes")
    key = Tree(folder, part).fingerprint()[:20]
    return Step(kind="dataset", label=part.label, spec=part, inputs={}, key=key, external=folder)


def _with_things(dataset: Dataset) -> Iterator[Small]:
    """Train frames in which an instance is left when they are small."""
    seen = 0
    for frame in dataset.frames("train"):
        small = _small(frame)
        found = select(small.ids, dataset.labels, top_k=1, candidates="evaluated")
        if found and found[0].area >= LEAST_AREA:
            seen += 1
            yield small
    if not seen:
        raise HarnessError(f"{dataset.part.label}: no train frame shows an instance", hint="look at its instanceIds")


def _small(frame: Frame) -> Small:
    image, ids = frame.read_image(), frame.read_ids()
    size = (HEIGHT, round(HEIGHT * ids.shape[1] / ids.shape[0]))
    return Small(frame, resize(image, size, "area"), resize_ids(ids, size))


def synthesis(step: Step, data: Step, folder: Path, *, stand_in: bool) -> Step:
    """Return the step for one crop of a synthesis, one for each of two frames where it goes into the other.

    `folder`: where a stand-in is written.
    """
    spec = generator_of(step)
    part = spec.generator
    if stand_in:
        part = stand_ins.generator(part, folder)
    elif part.needs and not gpus():
        part = _lighter(part)
    if part.needs and not gpus():
        part = _with(part, precision="fp32" if stand_in else "bf16", channels_last=False, compile=False)
    once = {
        "generator": part.model_copy(update={"batch_size": 1}),
        "top_k": 1,
        "variants": 1,
        "limit": 1 if part.placement == "in_place" else 2,
        "weights": "",
    }
    return make_step("synthesize", step.label, spec.model_copy(update=once), {"dataset": data})


def _lighter(part: GeneratorPart) -> GeneratorPart:
    """Return the part as a real checkpoint runs on a processor: fewer pixels, three steps."""
    return _with(part, size=min(SIDE, getattr(part.options, "size", SIDE)), steps=3)


def _with(part: GeneratorPart, **changed: Any) -> GeneratorPart:
    known = {name: value for name, value in changed.items() if name in type(part.options).model_fields}
    return part.model_copy(update={"options": part.options.model_copy(update=known)})


def network(found: NetworkSteps, data: Step, synthetic: Step | None, *, stand_in: bool) -> dict[str, Step]:
    """Two training steps of a network, its prediction of one frame and the evaluation of that."""
    spec, part = found.spec, _short(found.part)
    if stand_in:
        backbones = {spec.backbone: stand_ins.backbone(part.chosen(spec.backbone))}
        part = part.model_copy(update={"backbones": backbones})
    inputs = {"dataset": data} | ({"synthesis": synthetic} if synthetic else {})
    train = make_step("train", found.train.label, spec.model_copy(update={"segmenter": part}), inputs)
    asked = PredictSpec(segmenter=part, backbone=spec.backbone, split="val")
    predict = make_step("predict", found.predict.label, asked, {"dataset": data, "train": train})
    inputs = {"dataset": data, "predict": predict}
    evaluate = make_step("evaluate", found.evaluate.label, found.evaluate.spec, inputs)
    return {step.key: step for step in (train, predict, evaluate)}


def _short(part: SegmenterPart) -> SegmenterPart:
    """Return the part with a training of two steps of two small crops."""
    training = part.training
    changed: dict[str, Any] = {"iterations": 2, "batch_size": 2}
    if isinstance(training, Training):
        changed |= {"accumulate": 1, "crop": CROP, "short_sides": [CROP[0], CROP[0] + 32], "warmup": 0}
        changed |= {"workers": min(training.workers, 1), "cache_mb": 0, "log_every": 1, "checkpoint_every": 1000}
        changed |= {"validate_every": min(training.validate_every, 2), "validate_batches": 1}
    return part.model_copy(update={"training": training.model_copy(update=changed)})


def assessment(step: Step, synthetic: Step, *, stand_in: bool) -> Step:
    """Return the step that assesses one crop; its stand-ins for the networks of metrics are those of mini."""
    spec = step.spec
    if stand_in:
        from harness.core.config import parse
        from harness.planning.suite import load_part

        content, path = load_part("assessments", "image_quality", "mini")
        spec = parse(AssessSpec, content, path)
    return make_step("assess", step.label, spec, {"synthesis": synthetic})
