"""What a segmenter is: its part (TOML), how it is trained, what it sees and what it answers.

An adapter (oneformer.py, mask2former.py, fastinst/) names its own option models and builds a `Network`; one engine
(training.py) trains them all. Nothing here imports torch, so that plans are made in milliseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from pydantic import Field, model_validator

from harness.core.config import Strict, parse
from harness.core.errors import HarnessError, near
from harness.core.registry import SEGMENTERS
from harness.weights import checkpoints


class Backbone(Strict):
    """A feature extractor with maps at strides 4, 8, 16, 32.

    `config`: what the transformers configuration of `family` takes; with `weights` (a hub id or a local folder of the
    backbone alone) it may stay empty. `checkpoint`: a whole model to start from (hub id or local folder); its class
    head is made anew when its classes are not ours.
    """

    label: str
    family: Literal["swin", "convnext", "convnextv2", "resnet"] | None = None
    """Which architecture of transformers; an adapter that builds its own needs none."""
    config: dict[str, Any] = {}
    weights: str | None = None
    checkpoint: str | None = None


class Training(Strict):
    """How a network is trained; sizes in pixels of the frame, rates per iteration, shares in 0..1."""

    iterations: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    crop: tuple[int, int]
    """Height and width of the training crop; the network sees it padded to multiples of 32."""
    short_sides: list[int] = Field(min_length=1)
    """Scale jitter: the frame is resized so that its shorter side is one of these, drawn uniformly."""
    flip: float = Field(default=0.5, ge=0, le=1)
    colour_jitter: bool = True
    learning_rate: float = Field(gt=0)
    backbone_rate: float = Field(default=0.1, ge=0)
    """Factor on the learning rate of the backbone."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Not applied to norms, biases of norms, embeddings and position tables."""
    schedule: Literal["poly", "step", "constant"] = "poly"
    power: float = Field(default=0.9, gt=0)
    milestones: list[float] = []
    """For `step`: shares of the iterations after which the rate is multiplied by `gamma`."""
    gamma: float = Field(default=0.1, gt=0)
    warmup: int = Field(default=0, ge=0)
    """Iterations of linear warm-up."""
    grad_clip: float | None = Field(default=None, gt=0)
    """Largest gradient norm; null: no clipping (the released OneFormer configures 0.01 and never applies it)."""
    accumulate: int = Field(default=1, ge=1)
    """Parts into which a batch is cut, one after the other; must divide `batch_size`."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Mixed precision on an accelerator; a CPU always computes in fp32."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the running mean of the weights that is kept instead of the last ones; null: off."""
    gradient_checkpointing: bool = False
    log_every: int = Field(default=10, ge=1)
    validate_every: int = Field(default=0, ge=0)
    """Iterations between two looks at the loss on val crops; 0: never. It is logged and decides nothing."""
    validate_batches: int = Field(default=2, ge=1)
    checkpoint_every: int = Field(default=1000, ge=1)
    workers: int = Field(default=0, ge=0)
    """Threads that prepare crops ahead; the result does not depend on it."""
    cache_mb: int = Field(default=0, ge=0)
    """Decoded frames are kept in memory up to so many MiB."""
    trackers: list[Literal["tensorboard", "wandb"]] = ["tensorboard"]

    @model_validator(mode="after")
    def _fits(self) -> "Training":
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch_size {self.batch_size}")
        if any(not 0 < share <= 1 for share in self.milestones):
            raise ValueError("milestones are shares of the iterations, in 0..1")
        if min(self.crop) < 32:
            raise ValueError("crop: both sides must be at least 32 pixels")
        return self


class SegmenterPart(Strict):
    """configs/segmenters/<name>.toml. `model`, `training` and `inference` are parsed by the adapter's own models."""

    label: str
    adapter: str
    backbones: dict[str, Backbone] = Field(min_length=1)
    model: dict[str, Any] = {}
    training: dict[str, Any] = {}
    inference: dict[str, Any] = {}

    def chosen(self, backbone: str | None) -> Backbone:
        """The backbone called so; HarnessError when the part has none of that name."""
        if backbone not in self.backbones:
            raise HarnessError(
                f"segmenter {self.label}: unknown backbone {backbone!r}", hint=near(str(backbone), self.backbones)
            )
        return self.backbones[backbone]

    def only(self, backbone: str) -> "SegmenterPart":
        """The part with that backbone alone: what decides one training."""
        return self.model_copy(update={"backbones": {backbone: self.chosen(backbone)}})


def fingerprint(part: SegmenterPart, backbone: str | None) -> str:
    """What a content key says of the weights that the chosen backbone starts from: a hash of local files, so that
    another checkpoint under the same name is another training. Empty for hub ids, which the part names, and for none.
    """
    chosen = part.chosen(backbone)
    local = [Path(name).expanduser() for name in (chosen.weights, chosen.checkpoint) if name]
    return " ".join(checkpoints.of_files(path) for path in local if path.exists())


class Options(NamedTuple):
    """The tables of a part, parsed."""

    model: Strict
    training: Any
    """`Training`, or the adapter's own."""
    inference: Strict


def options(part: SegmenterPart, path: Path | str) -> Options:
    """The tables of `part` as its adapter's models; HarnessError names `path` and the key."""
    adapter = SEGMENTERS.load(part.adapter)
    return Options(
        model=parse(adapter.Model, part.model, f"{path}, model"),
        training=parse(getattr(adapter, "Training", Training), part.training, f"{path}, training"),
        inference=parse(adapter.Inference, part.inference, f"{path}, inference"),
    )


def share(training: Any, devices: int, name: str) -> int:
    """Images that each of `devices` sees at a time; HarnessError, with `name`, when they don't come out even."""
    together = training.batch_size // getattr(training, "accumulate", 1)
    if together % devices:
        raise HarnessError(
            f"{name}: {together} images at a time cannot be shared by {devices} devices",
            hint="training.batch_size / training.accumulate must be a multiple of the devices",
        )
    return together // devices


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A training crop: image uint8 [H, W, 3], ids int32 [H, W] (0 = void); `seed` for draws that belong to it."""

    name: str
    image: np.ndarray
    ids: np.ndarray
    seed: int


class Instance(NamedTuple):
    """A predicted thing: mask bool [H, W], label id (24..33) and score in 0..1."""

    mask: np.ndarray
    label_id: int
    score: float


class Segment(NamedTuple):
    """A segment of a panoptic map: its id there (> 0) and its label id."""

    id: int
    label_id: int


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a segmenter says of one image; None for a task it does not do.

    `instances` by falling score; `semantic` uint8 [H, W] label ids; `panoptic` int32 [H, W] segment ids, 0 = void.
    `votes` float32 [19, H, W]: what `semantic` is the largest of, in train-id order; only from a network that is told
    to `keep_votes`.
    """

    instances: list[Instance] | None = None
    semantic: np.ndarray | None = None
    panoptic: np.ndarray | None = None
    segments: tuple[Segment, ...] = ()
    votes: np.ndarray | None = None


class Network(Protocol):
    """A torch module that the engine can train and `predict` can ask.

    `collate` runs outside the device and may run in a thread; `forward` gives weighted losses by name, whose sum is
    minimised. A network that answers with label ids may have an attribute `keep_votes` (False): set, its answers hold
    the votes too, so that windows of one image can be joined by them. A network with a method `fit`, called as
    training.train is, trains itself; it then needs neither `collate` nor `backbone_prefix`.
    """

    backbone_prefix: str

    def collate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Crops of one size as a batch of CPU tensors (and lists of them)."""

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Weighted losses of a batch, scalars by name."""

    def predict(self, images: Sequence[np.ndarray], inference: Strict) -> list[Prediction]:
        """Answers for images of one size, uint8 [H, W, 3]."""


class Segmenter(Protocol):
    """An adapter: what the registry names. `tasks` is what its predictions hold.

    It may have a `Training` model of its own, for networks that `fit` themselves, and `missing()`: why it can't be used
    here (a package that is not installed), or nothing.
    """

    Model: ClassVar[type[Strict]]
    Inference: ClassVar[type[Strict]]

    @staticmethod
    def build(backbone: Backbone, model: Strict, *, shape: dict[str, Any] | None = None) -> Network:
        """The network: without `shape` a new one, with the weights that `backbone` names; with `shape` (what `shape` of
        a trained network gave) the same one again, its weights still to be filled in, and `backbone` says no more.
        """
