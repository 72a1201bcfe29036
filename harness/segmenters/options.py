"""Segmenters share these options, with their published values: backbone, budget, engine, inference, set prediction.

No torch here: plans are made from these models.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from harness.core.config import Grown, Strict


class Backbone(Grown):
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
    checkpoint_rate: float = Field(default=1.0, ge=0)
    """Factor on the learning rate of every layer that `checkpoint` filled; below 1 they forget less while the class
    head, which starts anew, learns."""

    LATER: ClassVar[frozenset[str]] = frozenset({"checkpoint_rate"})


class Budget(Strict):
    """The training options that every segmenter has."""

    iterations: int = Field(ge=1)
    batch_size: int = Field(ge=1)

    @property
    def validates(self) -> bool:
        """Return whether the training looks at the val split."""
        return False

    @property
    def at_a_time(self) -> int:
        """Images that go through the network together."""
        return self.batch_size


class Training(Budget):
    """This says how the engine (training.py) trains; sizes in pixels of the frame, rates per iteration, shares in
    0..1."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = dict.fromkeys(
        (
            *("log_every", "validate_every", "validate_batches", "checkpoint_every"),
            *("workers", "cache_mb", "trackers", "project"),
        ),
        True,
    )
    """What is told and kept of a training, and how fast it is, never its weights."""

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
    project: str = ""
    """What the trackers call the project; a plan gives it the suite's name where the part gives none."""

    @property
    def validates(self) -> bool:
        """Return whether the loss on the val split is looked at."""
        return self.validate_every > 0

    @property
    def at_a_time(self) -> int:
        """Images of one part of a batch."""
        return self.batch_size // self.accumulate

    @model_validator(mode="after")
    def _fits(self) -> "Training":
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch_size {self.batch_size}")
        if any(not 0 < share <= 1 for share in self.milestones):
            raise ValueError("milestones are shares of the iterations, in 0..1")
        if min(self.crop) < 32:
            raise ValueError("crop: both sides must be at least 32 pixels")
        return self


class Inference(Strict):
    """The inference options that every segmenter has."""

    batch_size: int = Field(default=1, ge=1)
    """Images per call of `predict`."""


class SetLoss(Strict):
    """This says how predictions are compared with targets (criterion.py), and the aids of networks without weights
    (aids.py)."""

    class_weight: float = Field(default=2.0, ge=0)
    mask_weight: float = Field(default=5.0, ge=0)
    dice_weight: float = Field(default=5.0, ge=0)
    no_object_weight: float = Field(default=0.1, ge=0)
    points: int = Field(default=12544, ge=0)
    """Points per mask at which masks are compared; 0: every cell of the mask map."""
    min_pixels: int = Field(default=1, ge=1)
    """Objects of which a crop shows fewer pixels are no targets."""
    located: bool = False
    """Published: no. Add the position to the features that masks (FastInst: queries too) come from, so that objects
    that look alike come apart sooner.
    """
    semantic_weight: float = Field(default=0.0, ge=0)
    """Published: 0. More: every cell of the mask features also learns its class, for networks without weights."""


class MaskModel(SetLoss):
    """Sizes of a network that predicts one class and one mask per query (Mask2Former, OneFormer)."""

    hidden: int
    queries: int
    dropout: float
    encoder_layers: int = Field(default=6, ge=1)
    """Deformable attention layers of the pixel decoder."""
    decoder_layers: int = Field(default=10, ge=2)
    """Predictions that are supervised: one before the first decoder layer and one after each."""
    heads: int = Field(default=8, ge=1)
    encoder_feedforward: int = Field(default=1024, ge=1)
    decoder_feedforward: int = Field(default=2048, ge=1)


class InstanceInference(Inference):
    """This says how instances are read from predictions; the defaults are the published ones."""

    topk: int = Field(default=100, ge=1)
    min_score: float = Field(default=0.0, ge=0, le=1)
    short_side: int | None = Field(default=None, ge=32)
    """Images are resized to this shorter side before the network sees them; null: as they are."""


class MaskInference(InstanceInference):
    """This says how instances and the panoptic map are read from predictions."""

    object_threshold: float = Field(default=0.8, ge=0, le=1)
    overlap_threshold: float = Field(default=0.8, ge=0, le=1)
