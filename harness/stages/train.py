"""The stage train trains a segmenter on a data set and, where there is one, the synthetic tree made from it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from harness.core.config import Specification
from harness.core.progress import Report
from harness.data.base import Dataset
from harness.data.mix import Mix
from harness.segmenters.base import SegmenterPart, share
from harness.stages import Inputs

if TYPE_CHECKING:
    from harness.data.mix import Stream

VERSION = 3


class TrainSpec(Specification):
    """One training. Only the chosen backbone of the part is kept: the others don't decide the result."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = {
        "segmenter": {
            "label": True,
            "inference": True,
            "backbones": {"__all__": {"label": True}},
        },
        "devices": True,
    }

    segmenter: SegmenterPart
    backbone: str
    mix: Mix = Mix()
    seed: int = Field(ge=0)
    devices: int = Field(default=1, ge=1)
    """Devices of this machine that share each batch: how it is computed, not what, so it is in no key."""

    @model_validator(mode="after")
    def _only_the_chosen(self) -> "TrainSpec":
        object.__setattr__(self, "segmenter", self.segmenter.only(self.backbone))
        return self

    def on(self, devices: int) -> "TrainSpec":
        """Return the same training on so many devices; HarnessError when they cannot share its batches."""
        share(self.segmenter.training, devices, f"segmenter {self.segmenter.label}")
        return self.model_copy(update={"devices": devices})


def run(spec: TrainSpec, inputs: Inputs, out: Path, report: Report) -> dict[str, Any]:
    """Train in `out` (config.json, model.safetensors, log.jsonl, tracker files); facts: the budget and what it trained
    on.
    """
    from harness.segmenters import checkpoint

    if checkpoint.finished(out):
        return checkpoint.read(out).facts
    if spec.devices == 1:
        return _train((spec, inputs, out), report)
    from harness.segmenters import processes

    processes.run(spec.devices, _train, (spec, inputs, out), report)
    return checkpoint.read(out).facts


def _train(task: tuple[TrainSpec, Inputs, Path], report: Report) -> dict[str, Any]:
    import torch

    from harness.core.seeds import derive
    from harness.data.mix import stream
    from harness.segmenters import checkpoint, processes

    spec, inputs, out = task
    part = spec.segmenter
    torch.manual_seed(derive(spec.seed, "weights"))
    network = part.build(spec.backbone, inputs["dataset"].labels)
    seed = derive(spec.seed, "train")
    frames = stream(inputs["dataset"], inputs.get("synthesis"), spec.mix, seed, reads=network.reads)
    validation = _validation(inputs["dataset"]) if part.training.validates else None
    weights = network.fit(frames, validation, part.training, out=out, report=report)
    facts = {
        "iterations": part.training.iterations,
        "batch_size": part.training.batch_size,
        "images_seen": part.training.iterations * part.training.batch_size,
        "real_images": len(frames.real),
        "synthetic_images": len(frames.synthetic),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    if (images := checkpoint.images_at_a_time(out)) is not None:
        facts["images_at_a_time"] = images
    if processes.rank() == 0:
        checkpoint.save(out, network, weights, part, spec.backbone, facts)
    return facts


def _validation(dataset: Dataset) -> "Stream":
    """Return the val split as a stream whose order and crops are the same for every training, so that val losses
    compare.
    """
    from harness.core.seeds import derive
    from harness.data.mix import stream

    return stream(dataset, None, Mix(), derive(0, "validation"), split="val")
