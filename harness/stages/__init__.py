"""A stage does a step of a plan. Each module has a parsed specification and `run(spec, inputs, out, report) -> facts`;
`inputs` are folders of artifacts, and the data set where there is one.

`out` outlives kill -9: a stage called again on a half-filled `out` goes on and ends with the same files, bit for bit.
A stage's VERSION is part of the key of its artifacts: raise it when the same specification gives another result.
"""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypedDict, cast

from harness.core.config import Specification
from harness.core.resources import Resources
from harness.data.base import Dataset, DatasetPart, open_dataset


class Inputs(TypedDict, total=False):
    """This holds what a stage reads: the data set, and the folders of artifacts by their kind."""

    dataset: Dataset
    synthesis: Path
    train: Path
    predict: Path


class Stage(NamedTuple):
    """One kind of step: where it is, what its specification is called, and what it needs of a machine."""

    module: str
    specification: str
    resources: Resources = Resources()
    imports: tuple[str, ...] = ()
    """Modules that its run needs and that are slow to import. A process that starts many runs imports them once; they
    start no thread and touch no GPU when they are imported."""
    quick: bool = False
    """Whether it copies what is there, so that an estimate may count it as nothing."""

    @property
    def code(self) -> ModuleType:
        """The module (imports no torch before it runs)."""
        return importlib.import_module(self.module)

    @property
    def spec(self) -> type[Specification]:
        """The model of the specification."""
        return getattr(self.code, self.specification)

    @property
    def version(self) -> int:
        """The version of what it makes."""
        return self.code.VERSION


ON_GPU = Resources(gpus=1, cpus=4, memory_gb=16.0)
"""For stages that compute with a network. They run without a GPU as well, where a machine has none."""

_NETWORK = ("torch", "torchvision", "accelerate", "transformers")

STAGES = {
    "dataset": Stage(
        "harness.stages.dataset", "DatasetSpec", imports=("harness.data.streets.render_tree", "numpy.random")
    ),
    "synthesize": Stage("harness.stages.synthesize", "SynthesisSpec", ON_GPU, (*_NETWORK, "diffusers")),
    "images": Stage("harness.stages.images", "ImagesSpec", ON_GPU, quick=True),
    "train": Stage("harness.stages.train", "TrainSpec", ON_GPU, (*_NETWORK, "harness.segmenters.training")),
    "predict": Stage("harness.stages.predict", "PredictSpec", ON_GPU, _NETWORK),
    "predictions": Stage(
        "harness.stages.predictions", "PredictionsSpec", imports=("harness.metrics.prediction_views",), quick=True
    ),
    "evaluate": Stage("harness.stages.evaluate", "EvaluateSpec", imports=("harness.metrics.evaluation",)),
    "assess": Stage("harness.stages.assess", "AssessSpec", ON_GPU, _NETWORK),
}


def open_inputs(folders: Mapping[str, str], dataset: Mapping[str, Any] | None) -> Inputs:
    """Return the inputs of a step from their folders; `dataset`: the part of the data set, where it is one of them."""
    inputs: dict[str, Any] = {name: Path(folder) for name, folder in folders.items()}
    if dataset is not None:
        inputs["dataset"] = open_dataset(DatasetPart.model_validate_json(json.dumps(dataset)), inputs["dataset"])
    return cast(Inputs, inputs)
