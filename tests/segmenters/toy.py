"""A Cityscapes tree of toy scenes in numpy: sky, road, cars (rectangles) and persons (ellipses); tiny networks to go
with it.
"""

from pathlib import Path

import numpy as np

from harness.core.config import parse
from harness.data.cityscapes import CITYSCAPES
from harness.data.labels import LabelSet
from harness.data.tree import Tree
from harness.segmenters.base import SegmenterPart

ROAD, SKY, PERSON, CAR = 7, 23, 24, 26
CLASSES = ("road", "sky", "person", "car")


def scene(
    seed: int,
    *,
    size: tuple[int, int] = (64, 128),
    things: int = 3,
    labels: LabelSet = CITYSCAPES,
    classes: tuple[str, str, str, str] = CLASSES,
) -> tuple[np.ndarray, np.ndarray]:
    """An image (uint8 [H, W, 3]) and its instance ids: two of stuff, and things of two classes."""
    road, sky, person, car = (labels.by_name[name].id for name in classes)
    rng = np.random.default_rng(seed)
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    ids = np.where(rows < height // 2, sky, road).astype(np.int32)
    image = np.where((rows < height // 2)[..., None], (140, 180, 230), (90, 90, 95)).astype(float)
    for number in range(things):
        label = (car, person)[int(rng.integers(2))]
        h, w = rng.integers(height // 5, height // 2), rng.integers(width // 8, width // 4)
        y, x = rng.integers(height // 4, height - h // 2), rng.integers(0, width - w)
        if label == car:
            inside = (rows >= y) & (rows < y + h) & (columns >= x) & (columns < x + w)
        else:
            inside = ((rows - y - h / 2) / (h / 2)) ** 2 + ((columns - x - w / 4) / (w / 4)) ** 2 <= 1
        ids[inside] = label * labels.divisor + number
        image[inside] = rng.uniform(0, 60, 3) + ((150, 30, 20) if label == car else (20, 120, 40))
    return np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8), ids


def tree(
    root: Path,
    *,
    train: int = 6,
    val: int = 3,
    size: tuple[int, int] = (64, 128),
    things: int = 3,
    labels: LabelSet = CITYSCAPES,
    classes: tuple[str, str, str, str] = CLASSES,
) -> Path:
    """Write a tree of toy scenes; the same every time."""
    made = Tree.create(root, labels)
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            seed = number + 1000 * (split == "val")
            image, ids = scene(seed, size=size, things=things, labels=labels, classes=classes)
            made.write_frame(split, "toy", f"toy_{number:06d}_000019", image, ids)
    return root


TRAINING = {
    "iterations": 4,
    "batch_size": 2,
    "crop": [64, 128],
    "short_sides": [48, 64],
    "learning_rate": 1e-3,
    "backbone_rate": 1.0,
    "log_every": 2,
    "checkpoint_every": 1,
    "cache_mb": 50,
}

BACKBONES = {
    "swin": {
        "label": "toy Swin",
        "family": "swin",
        "config": {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2], "window_size": 4},
    },
    "convnext": {
        "label": "toy ConvNeXt",
        "family": "convnext",
        "config": {"hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1]},
    },
    "resnet": {
        "label": "toy ResNet",
        "family": "resnet",
        "config": {
            "embedding_size": 16,
            "hidden_sizes": [16, 16, 32, 32],
            "depths": [1, 1, 1, 1],
            "layer_type": "basic",
        },
    },
    "deeplab": {
        "label": "toy ResNet of DeepLab",
        "config": {
            "kind": "resnet_beta",
            "blocks": [1, 1, 1, 1],
            "width": 0.125,
            "stem_width": 0.125,
            "distances": 33,
            "norm_momentum": 0.1,
        },
    },
    "axial": {
        "label": "toy Axial-ResNet",
        "config": {
            "kind": "resnet_beta",
            "blocks": [1, 1, 1, 1],
            "width": 0.125,
            "stem_width": 0.125,
            "axial_from": 2,
            "span": 9,
            "pool": True,
            "distances": 9,
            "heads": 2,
            "norm_momentum": 0.1,
        },
    },
}

ONEFORMER = {
    "hidden": 64,
    "queries": 12,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "query_layers": 1,
    "heads": 2,
    "encoder_feedforward": 64,
    "decoder_feedforward": 64,
    "dropout": 0.0,
    "text_layers": 1,
    "text_context": 2,
    "vocabulary": "compact",
    "points": 256,
}

MASK2FORMER = {
    "hidden": 64,
    "queries": 12,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "heads": 2,
    "encoder_feedforward": 64,
    "decoder_feedforward": 64,
    "points": 256,
}

FASTINST = {
    "hidden": 32,
    "queries": 12,
    "auxiliary_queries": 3,
    "layers": 2,
    "heads": 2,
    "feedforward": 64,
    "frozen_norms": False,
    "points": 256,
}

PANOPTIC_DEEPLAB = {
    "low_level": [8, 8],
    "instance_low_level": [8, 8],
    "aspp": "projection",
    "aspp_channels": 16,
    "instance_aspp_channels": 16,
    "decoder_channels": 16,
    "instance_decoder_channels": 16,
    "head_channels": 16,
    "instance_head_channels": 8,
    "convolution": "double",
    "center_convolution": "double",
    "sigma": 3.0,
    "hardest": 1.0,
    "small_area": 64,
    "offset_weight": 0.1,
}

KMAX = {
    "decoder_channels": [16, 16, 8, 8],
    "decoder_blocks": [1, 1, 1, 1],
    "layers": [1, 1, 1],
    "slots": 16,
    "hidden": 32,
    "key": 16,
    "heads": 2,
    "feedforward": 64,
    "head_channels": 16,
    "embedding": 16,
    "convolution": "double",
    "drop_path": 0.0,
    "samples": 256,
    "hardest": 1.0,
    "small_area": 64,
}

MODELS = {
    "oneformer": ONEFORMER,
    "mask2former": MASK2FORMER,
    "fastinst": FASTINST,
    "kmax": KMAX,
    "panoptic_deeplab": PANOPTIC_DEEPLAB,
}


INFERENCE = {
    "kmax": {"topk": 10, "thing_area": 4, "stuff_area": 8},
    "panoptic_deeplab": {"stuff_area": 8, "nms_kernel": 7},
}


def table(adapter: str = "oneformer", *, model: dict | None = None, inference: dict | None = None, **training) -> dict:
    """The table of a toy segmenter part; keywords change its training."""
    return {
        "label": f"toy {adapter}",
        "adapter": adapter,
        "backbones": BACKBONES,
        "model": MODELS[adapter] | (model or {}),
        "training": TRAINING | training,
        "inference": INFERENCE.get(adapter, {"topk": 10}) | (inference or {}),
    }


def part(adapter: str = "oneformer", **changes) -> SegmenterPart:
    """A toy segmenter part, changed as in `table`."""
    return parse(SegmenterPart, table(adapter, **changes), f"toy {adapter}")
