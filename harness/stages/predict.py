"""The stage predict runs a trained segmenter on the frames of one split and writes the official result formats."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from harness.core.config import Specification
from harness.core.errors import HarnessError
from harness.core.progress import Report
from harness.core.shortage import Halving
from harness.data.prediction import Prediction
from harness.segmenters.base import SegmenterPart
from harness.stages import Inputs

if TYPE_CHECKING:
    import numpy as np

    from harness.segmenters.network import Network

VERSION = 2


class PredictSpec(Specification):
    """This says which predictions a trained network makes: the inference table decides, the rest is in the key of
    the training."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = {
        "segmenter": {"label": True, "backbones": True, "model": True, "training": True}
    }

    segmenter: SegmenterPart
    backbone: str
    split: str = "val"

    @model_validator(mode="after")
    def _only_the_chosen(self) -> "PredictSpec":
        object.__setattr__(self, "segmenter", self.segmenter.only(self.backbone))
        return self


def run(spec: PredictSpec, inputs: Inputs, out: Path, report: Report) -> dict[str, Any]:
    """Predict every frame of the split into `out`; facts: frames, instances, tasks.

    Frames are answered in fixed groups, and a group is answered again when one of its frames is missing: a resumed run
    gives the same bits as one that wasn't stopped.
    """
    import torch

    from harness.data import prediction_files
    from harness.segmenters import checkpoint

    wanted = spec.segmenter.inference
    dataset = inputs["dataset"]
    every = dataset.frames(spec.split)
    network = checkpoint.load(inputs["train"])
    if network.labels.fingerprint != dataset.labels.fingerprint:
        raise HarnessError(f"{inputs['train']}: trained for {network.labels.name}, asked about {dataset.labels.name}")
    halving: Halving[Prediction] = Halving(
        "the prediction", "images", hint="lower `short_side` of the inference table, or free memory"
    )
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    for first in range(0, len(every), wanted.batch_size):
        group = every[first : first + wanted.batch_size]
        if not all(prediction_files.written(out, frame.name) for frame in group):
            images = [frame.read_image() for frame in group]
            answers = halving(len(group), partial(_answers, network, images, wanted))
            for frame, answer in zip(group, answers, strict=True):
                prediction_files.write(out, spec.split, frame.name, answer, dataset.labels)
        report(min(first + len(group), len(every)), len(every), group[-1].name)
    tasks = prediction_files.finish(out, spec.split, [frame.name for frame in every], dataset.labels)
    return {"frames": len(every), "tasks": tasks}


def _answers(network: "Network[Any, Any]", images: "list[np.ndarray]", wanted: Any, rows: range) -> list[Prediction]:
    return network.predict([images[row] for row in rows], wanted)
