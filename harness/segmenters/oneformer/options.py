"""These options of OneFormer have the published values."""

from typing import Literal

from pydantic import Field, field_validator

from harness.segmenters.oneformer.text import Vocabulary
from harness.segmenters.options import MaskInference, MaskModel
from harness.segmenters.targets import Task

TASKS: tuple[Task, ...] = ("instance", "semantic", "panoptic")


class Model(MaskModel):
    """Sizes and loss weights; the defaults are those of the published Cityscapes models (Swin-L, ConvNeXt-L)."""

    hidden: int = Field(default=256, ge=64, multiple_of=64)
    """Width of decoders and of mask features; the text encoder shares it, with 64 per head."""
    queries: int = Field(default=250, ge=2)
    query_layers: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    text_contrastive: bool = True
    """The text branch and its query-text loss in training (never used to predict). False is one reading of "w/o CLIP".
    """
    text_layers: int = Field(default=6, ge=1)
    text_context: int = Field(default=16, ge=0)
    """Learned context vectors beside the texts."""
    vocabulary: Vocabulary = "clip"
    contrastive_weight: float = Field(default=0.5, ge=0)
    tasks: list[Task] = list(TASKS)
    """What a training crop is asked, drawn uniformly. A question that was never asked is answered from panoptic."""

    @field_validator("tasks")
    @classmethod
    def _asks_for_the_whole(cls, tasks: list[str]) -> list[str]:
        if "panoptic" not in tasks or len(set(tasks)) != len(tasks):
            raise ValueError(f"expected distinct tasks, panoptic among them, found {tasks}")
        return tasks


class Inference(MaskInference):
    """This says how predictions are read; the defaults are the published ones."""

    topk: int = Field(default=250, ge=1)
    questions: Literal["own", "panoptic"] = "own"
    """Each answer is that to its own question; or all are read from the panoptic one, as the authors' default has it.
    """
