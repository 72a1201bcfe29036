"""A segmenter has a part (configs/segmenters/*.toml) and an adapter, the class that the part names.

An adapter (oneformer/adapter.py, ...) names its option models and builds a network; options.py has the models that
several share. Nothing here imports torch, so that plans are made in milliseconds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import ConfigDict, Field, ValidationInfo, model_validator

from harness.core.config import AS_GIVEN, Strict, parse_table
from harness.core.errors import HarnessError, near
from harness.core.registry import Adapter, Registry
from harness.data.labels import LabelSet
from harness.segmenters import options
from harness.segmenters.options import Backbone, Budget
from harness.weights import checkpoints

if TYPE_CHECKING:
    from harness.segmenters.network import Network

ModelT = TypeVar("ModelT", bound=Strict)


class SegmenterAdapter(Adapter, ABC, Generic[ModelT]):
    """An adapter builds the network of a segmenter. A subclass sets `Model` and `Inference` and builds it; the rest has
    defaults."""

    Model: ClassVar[type[Strict]]
    """The table [model] of the part."""
    Training: ClassVar[type[Budget]] = options.Training
    """The table [training]; another one for networks that train themselves."""
    Inference: ClassVar[type[options.Inference]] = options.Inference
    """The table [inference]."""
    tasks: ClassVar[tuple[str, ...]] = ("instance", "semantic", "panoptic")
    """What its predictions can hold."""

    @classmethod
    def fingerprint(cls, backbone: Backbone, model: ModelT) -> str:
        """Return what a content key says of the files that a training starts from, and of nothing else.

        Default: a hash of the local weights of the backbone, so that another checkpoint under the same name is another
        training; empty for hub ids, which the part names, and for none.
        """
        named = [checkpoints.local(name) for name in (backbone.weights, backbone.checkpoint) if name]
        return " ".join(checkpoints.of_files(path) for path in named if path)

    @classmethod
    def runs(cls, model: ModelT, generator: str, backbone: str) -> Mapping[int, Path] | None:
        """Predictions that are there already, trained on the frames of `generator`: seed to folder; None (the default)
        for a segmenter that is trained here. HarnessError when they should be there and are not. Torch-free.
        """
        return None

    @classmethod
    def on(cls, model: ModelT, generators: Iterable[str], backbone: str) -> list[str]:
        """Return the generators on whose frames it can be trained, or was; default: all."""
        return list(generators)

    @classmethod
    def reading(cls, checkpoint: str, model: ModelT, labels: LabelSet) -> ModelT:
        """Return the options with which a network predicts from the public `checkpoint`, a hub id or a folder, and is
        not trained: what training alone reads may be missing there. Default: `model`.
        """
        return model

    @classmethod
    def needs(cls, backbone: Backbone, model: ModelT) -> tuple[checkpoints.Need, ...]:
        """Return the checkpoints that a training starts from, for plans and rehearsals. Default: those of the
        backbone."""
        return tuple(checkpoints.Need(names=(name,)) for name in (backbone.weights, backbone.checkpoint) if name)

    @classmethod
    @abstractmethod
    def build(
        cls, backbone: Backbone, model: ModelT, labels: LabelSet, *, shape: dict[str, Any] | None = None
    ) -> Network[Any, Any]:
        """Return the network for the classes of `labels`: without `shape` a new one, with the weights that `backbone`
        names; with `shape` (what `network.shape` said of a trained one) the same again, its weights still to be filled
        in.
        """


SEGMENTERS: Registry[SegmenterAdapter[Any]] = Registry(
    "segmenter",
    {
        "detectron2": "harness.segmenters.detectron2.adapter:Detectron2",
        "fastinst": "harness.segmenters.fastinst.adapter:FastInst",
        "kmax": "harness.segmenters.kmax.adapter:KMaX",
        "mask2former": "harness.segmenters.mask2former.adapter:Mask2Former",
        "oneformer": "harness.segmenters.oneformer.adapter:OneFormer",
        "predictions": "harness.segmenters.predictions.adapter:Predictions",
        "panoptic_deeplab": "harness.segmenters.panoptic_deeplab.adapter:PanopticDeepLab",
    },
    base=SegmenterAdapter,
)


class SegmenterHead(Strict):
    """This holds what a part says before its adapter is known; other keys are not looked at."""

    model_config = ConfigDict(extra="ignore")

    label: str
    adapter: str
    backbones: dict[str, Backbone] = Field(min_length=1)

    def chosen(self, backbone: str | None) -> Backbone:
        """Return the backbone called so; HarnessError when the part has none of that name."""
        if backbone not in self.backbones:
            raise HarnessError(
                f"segmenter {self.label}: unknown backbone {backbone!r}", hint=near(str(backbone), self.backbones)
            )
        return self.backbones[backbone]


class SegmenterPart(SegmenterHead):
    """configs/segmenters/<name>.toml, its tables parsed by the models of the adapter that it names."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[Strict, AS_GIVEN]
    training: Annotated[Budget, AS_GIVEN]
    inference: Annotated[options.Inference, AS_GIVEN]

    @model_validator(mode="before")
    @classmethod
    def _parsed(cls, part: Any, info: ValidationInfo) -> Any:
        if not isinstance(part, dict) or "adapter" not in part:
            return part
        kind = SEGMENTERS.load(part["adapter"])
        tables = {"model": kind.Model, "training": kind.Training, "inference": kind.Inference}
        return part | {table: parse_table(model, part, table, info) for table, model in tables.items()}

    @property
    def kind(self) -> type[SegmenterAdapter[Any]]:
        """The adapter."""
        return SEGMENTERS.load(self.adapter)

    def only(self, backbone: str) -> SegmenterPart:
        """Return the part with that backbone alone: what decides one training."""
        return self.model_copy(update={"backbones": {backbone: self.chosen(backbone)}})

    def fingerprint(self, backbone: str) -> str:
        """Return what a content key says of the files that a training on the backbone called so starts from."""
        return self.kind.fingerprint(self.chosen(backbone), self.model)

    def runs(self, generator: str, backbone: str) -> Mapping[int, Path] | None:
        """Predictions that are there already, seed to folder; None for a segmenter that is trained here."""
        return self.kind.runs(self.model, generator, backbone)

    def on(self, generators: Iterable[str], backbone: str) -> list[str]:
        """Return those of some generators on whose frames it can be trained, or was."""
        return self.kind.on(self.model, generators, backbone)

    def needs(self, backbone: str) -> tuple[checkpoints.Need, ...]:
        """Return the checkpoints that a training on the backbone called so starts from."""
        return self.kind.needs(self.chosen(backbone), self.model)

    def build(self, backbone: str, labels: LabelSet) -> Network[Any, Any]:
        """Return a new network on the backbone called so, with the weights that the backbone names."""
        return self.kind.build(self.chosen(backbone), self.model, labels)


def share(training: Budget, devices: int, name: str) -> int:
    """Return images that each of `devices` sees at a time; HarnessError, with `name`, when they don't come out even."""
    if training.at_a_time % devices:
        raise HarnessError(
            f"{name}: {training.at_a_time} images at a time cannot be shared by {devices} devices",
            hint="training.batch_size / training.accumulate must be a multiple of the devices",
        )
    return training.at_a_time // devices
