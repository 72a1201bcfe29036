"""Stage train: a segmenter on a Cityscapes tree and, where there is one, the synthetic tree made from it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from harness.core.config import Strict
from harness.core.progress import Report
from harness.data.mix import Mix
from harness.segmenters.base import SegmenterPart, options, share

VERSION = 2


class TrainSpec(Strict):
    """One training. Only the chosen backbone of the part is kept: the others don't decide the result."""

    NOT_IN_KEY: ClassVar = {
        "segmenter": {"label": True, "inference": True, "backbones": {"__all__": {"label": True}}},
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
        """The same training on so many devices; HarnessError when they cannot share its batches."""
        name = f"segmenter {self.segmenter.label}"
        share(options(self.segmenter, name).training, devices, name)
        return self.model_copy(update={"devices": devices})


def run(spec: TrainSpec, inputs: Mapping[str, Path], out: Path, report: Report) -> dict[str, Any]:
    """Train in `out` (config.json, model.safetensors, log.jsonl, tracker files); facts: the budget and what it trained
    on.
    """
    from harness.segmenters import checkpoint

    finished = checkpoint.read_config(out)
    if finished is None and spec.devices > 1:
        from harness.segmenters import processes

        processes.run(spec.devices, _train, (spec, dict(inputs), out), report)
        finished = checkpoint.read_config(out)
    return finished["facts"] if finished else _train((spec, inputs, out), report)


def _train(task: tuple[TrainSpec, Mapping[str, Path], Path], report: Report) -> dict[str, Any]:
    import torch

    from harness.core.registry import SEGMENTERS
    from harness.core.seeds import derive
    from harness.data.mix import stream
    from harness.segmenters import checkpoint, processes
    from harness.segmenters.training import STATE, train

    spec, inputs, out = task
    part, backbone = spec.segmenter, spec.segmenter.chosen(spec.backbone)
    wanted = options(part, f"segmenter {part.label}")
    frames = stream(inputs["dataset"], inputs.get("synthesis"), spec.mix, derive(spec.seed, "train"))
    validation = _validation(inputs["dataset"]) if wanted.training.validate_every else None
    torch.manual_seed(derive(spec.seed, "weights"))
    network = SEGMENTERS.load(part.adapter).build(backbone, wanted.model)
    fit = network.fit if hasattr(network, "fit") else partial(train, network)
    weights = fit(frames, validation, wanted.training, out=out, report=report)
    facts = {
        "iterations": wanted.training.iterations,
        "batch_size": wanted.training.batch_size,
        "images_seen": wanted.training.iterations * wanted.training.batch_size,
        "real_images": len(frames.real),
        "synthetic_images": len(frames.synthetic),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    config = {
        "adapter": part.adapter,
        "backbone": backbone.model_dump(mode="json"),
        "model": wanted.model.model_dump(mode="json"),
        "facts": facts,
    }
    if processes.rank() == 0:
        checkpoint.save(out, network, weights, config)
        (out / STATE).unlink(missing_ok=True)
    return facts


def _validation(dataset: Path) -> Any:
    """The val split as a stream whose order and crops are the same for every training, so that val losses compare."""
    from harness.core.seeds import derive
    from harness.data.mix import stream

    return stream(dataset, None, Mix(), derive(0, "validation"), split="val")
