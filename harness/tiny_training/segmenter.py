"""This module trains what the mini segmenters start from, for the Mapillary and ImageNet weights of the published
ones.

A network of configs/segmenters learns from scenes of the pool, drawn apart from every train and val split, in its mini
sizes. Kept is the whole network without its class head, or its backbone alone. Not here: the networks, the batches (the
engine's own), the loop.
"""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.config import parse
from harness.core.progress import Report, silent
from harness.core.seeds import derive
from harness.data.augment import random_crop
from harness.data.mix import Mix, stream
from harness.data.streets import render
from harness.data.streets.street import Style
from harness.data.tree import Tree
from harness.metrics.base import Arrays, Target, join
from harness.metrics.instance import InstanceAP
from harness.metrics.prediction_views import Detection
from harness.planning.suite import load_part
from harness.segmenters.base import SegmenterPart
from harness.segmenters.deeplab_backbones.weights import DeepLab, keep
from harness.segmenters.loader import Loader
from harness.segmenters.training import to_device
from harness.tiny_training.loop import History, TimeBudget, fit

_HEAD = "class_embed."
_AIDS = {"semantic_weight": 5.0}
"""A class for every cell teaches features from nothing sooner; its layer is not part of what is kept."""
BATCH = 4
"""Scenes a step on a CPU."""
_RATE = 1.6e-3
_CACHE_MB = 4000
_CROP = (96, 192)
_SCENE = (192, 384)
_STYLE = Style(zoom=1.8, featured=4)
"""Scenes are drawn twice as fine as crops are cut, so that things are seen at 1 to 2 times their size there."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """This says which network learns, and whether all of it is kept or its backbone alone.

    `aids`: model options that help one that learns from nothing.
    """

    segmenter: str
    backbone: str
    whole: bool
    aids: dict[str, Any] = field(default_factory=dict)


STARTS = {
    "oneformer_convnext": Start(segmenter="oneformer", backbone="convnext", whole=True, aids=_AIDS),
    "swin": Start(segmenter="oneformer", backbone="swin", whole=False, aids=_AIDS),
    "resnet": Start(segmenter="mask2former", backbone="resnet50", whole=False, aids=_AIDS),
    "panoptic_deeplab": Start(segmenter="panoptic_deeplab", backbone="swidernet", whole=True),
    "axial_l": Start(segmenter="axial_deeplab", backbone="axial_l", whole=True),
    "axial_xl": Start(segmenter="axial_deeplab", backbone="axial_xl", whole=True),
    "kmax": Start(segmenter="kmax_deeplab", backbone="max_s", whole=True),
}
"""As the paper starts: OneFormer's ConvNeXt from all of Mapillary's network, Swin and ResNet from ImageNet's backbones.
The DeepLab line starts from whole networks here, more than its authors have: from backbones alone it learns too slowly
for a miniature.
"""


def scenes(folder: Path, *, seed: int, count: int, workers: int = 1, report: Report = silent) -> Path:
    """A tree with `count` scenes of the pool."""
    root = folder / f"scenes-{seed}"
    render(root, seed=seed, counts={"pool": count}, size=_SCENE, style=_STYLE, workers=workers, report=report)
    return root


def train_start(
    start: Start,
    root: Path,
    *,
    seed: int,
    before: Path | None = None,
    batch: int = BATCH,
    budget: TimeBudget,
    state: Path,
    device: str,
    workers: int = 0,
    report: Report = silent,
) -> tuple[Any, History]:
    """The network of `start`, trained on the pool of `root`, from nothing or going on from the network `before`."""
    data, path = load_part("segmenters", start.segmenter, "mini")
    part = parse(SegmenterPart, data, path)
    given = {"weights": None, "checkpoint": None if before is None else str(before)}
    backbone = part.chosen(start.backbone).model_copy(update=given)
    model = part.model.model_copy(update=start.aids) if before is None else part.model
    torch.manual_seed(derive(seed, "start", start.segmenter, start.backbone))
    tree = Tree(root)
    network: Any = part.kind.build(backbone, model, tree.labels)
    network = network.to(device)
    cut = {"crop": _CROP, "short_sides": list(range(_CROP[0], _SCENE[0] + 1, 8))}
    loading = {"batch_size": batch, "accumulate": 1, "cache_mb": _CACHE_MB, "workers": workers}
    training: Any = part.training.model_copy(update=cut | loading)
    frames_of = stream(tree, None, Mix(), derive(seed, "start", "stream"), split="pool")
    loader = Loader(frames_of, training, network.collate)

    def loss_of(step: int) -> torch.Tensor:
        network.train()
        batch = to_device(loader.batch(step, 0), torch.device(device))
        return sum(network(batch).values())

    try:
        return fit(
            network, loss_of, budget=budget, state=state, device=device, rate=_RATE, average=0.999, report=report
        )
    finally:
        loader.close()


def scores(network: Any, start: Start, root: Path) -> dict[str, float]:
    """AP and AP50 on one crop of each scene of `root`."""
    data, path = load_part("segmenters", start.segmenter, "mini")
    inference = parse(SegmenterPart, data, path).inference
    tree = Tree(root)
    metric = InstanceAP(tree.labels)
    found: list[Arrays] = []
    for frame in tree.frames("pool"):
        image, ids = frame.read_image(), frame.read_ids()
        crop = random_crop(
            image,
            ids,
            size=_CROP,
            short_sides=[(_CROP[0] + _SCENE[0]) // 2],
            flip=0.0,
            colour=False,
            void=tree.labels.void,
            seed=derive(0, "scores", frame.name),
        )
        (answer,) = network.predict([crop.image], inference)
        detections = [Detection(i.label_id, i.score, i.mask) for i in answer.instances]
        found.append(metric.observe(detections, Target(ids=crop.ids.astype(np.uint16), labels=tree.labels)))
    scored = metric.score(join(found, links=metric.links))
    return {name: round(scored[name], 4) for name in ("AP", "AP50")}


def save(network: Any, start: Start, folder: Path) -> None:
    """Write what is kept of `network` as fp16 safetensors that its adapter reads; the network itself stays."""
    if isinstance(network, DeepLab):
        keep(network, folder)
        return
    model = copy.deepcopy(network.model).cpu().half()
    if not start.whole:
        model.model.pixel_level_module.encoder.save_pretrained(folder)
        return
    kept = {name: value for name, value in model.state_dict().items() if _HEAD not in name}
    if network.aids.place is not None:
        kept |= {f"aids.place.{name}": value.cpu().half() for name, value in network.aids.place.state_dict().items()}
    model.save_pretrained(folder, state_dict=kept)
