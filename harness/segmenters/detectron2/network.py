"""This module wraps a model of detectron2 as a network: built from its configuration, trained on our stream, asked for
predictions.

Frames come in the order of the stream and each is mapped under its own seed, so that budget and mix mean what they mean
for every other segmenter, and a run that was killed and resumed ends with the same weights.
"""

import copy
import importlib
import json
import math
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from harness.core.errors import HarnessError
from harness.core.progress import Report, silent
from harness.core.seeds import derive
from harness.data.labels import Label, LabelSet
from harness.data.mix import Stream
from harness.data.prediction import Instance, Prediction, Segment
from harness.export.coco_json import write
from harness.export.registration import register
from harness.segmenters.checkpoint import STATE, read_state
from harness.segmenters.detectron2.options import Inference, Model, Training, config_path
from harness.segmenters.network import Network
from harness.segmenters.options import Backbone
from harness.weights.tensors import replace

LOG, DATA, PREFIX = "log.jsonl", "data", "harness_fit"
_CLASSES = ("MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.RETINANET.NUM_CLASSES", "MODEL.SEM_SEG_HEAD.NUM_CLASSES")
_TRIES = 10
_PARTS = ("model", "optimizer", "schedule", "scaler")
"""What a state holds beside the step."""


class Detectron2Network(Network[Training, Inference]):
    """A network around the `model` that detectron2 builds from `cfg`."""

    def __init__(self, cfg: CfgNode, options: Model, labels: LabelSet) -> None:
        super().__init__()
        self.cfg, self.options, self.labels = cfg, options, labels
        self.classes = _classes_of(options, labels)
        self.model = build_model(cfg)

    @classmethod
    def build(
        cls, backbone: Backbone, options: Model, labels: LabelSet, *, shape: dict[str, Any] | None
    ) -> "Detectron2Network":
        """See `SegmenterAdapter.build`."""
        cfg = _keys(options)
        if shape is not None:
            cfg.merge_from_other_cfg(CfgNode.load_cfg(shape["config"]))
            return cls(cfg, options, labels)
        _merge(cfg, backbone, options, labels)
        network = cls(cfg, options, labels)
        if cfg.MODEL.WEIGHTS:
            _fill(network.model, cfg.MODEL.WEIGHTS)
        return network

    @property
    def reads(self) -> Literal["ids", "outlines"]:
        """What detectron2's own data sets hold: polygons for instances, else panoptic images."""
        return "outlines" if self.options.task == "instance" else "ids"

    @property
    def shape(self) -> dict[str, Any]:
        """The whole configuration: all that is needed to build this network again without weights."""
        return {"config": self.cfg.dump()}

    def fit(
        self, frames: Stream, validation: Stream | None, training: Training, *, out: Path, report: Report = silent
    ) -> dict[str, Tensor]:
        """Train on `frames` by detectron2's optimizer and schedule; the final weights.

        Goes on from the state in `out`. HarnessError when a loss is not finite.
        """
        cfg = _budgeted(self.cfg, training)
        out.mkdir(parents=True, exist_ok=True)
        self.to("cuda" if torch.cuda.is_available() else "cpu").train()
        try:
            run = _Run(self, cfg, frames, training, out)
            run.resume()
            with EventStorage(run.step):
                for batch in run.batches():
                    loss = run.advance(batch)
                    report(run.step, training.iterations, f"loss {loss:.3f}")
        finally:
            _forget()
        shutil.rmtree(out / DATA, ignore_errors=True)
        return self.state_dict()

    @torch.no_grad()
    def predict(self, images: Sequence[np.ndarray], inference: Inference) -> list[Prediction]:
        """Predict for images (uint8 [H, W, 3] RGB), shown at the size that the configuration says."""
        found = self.model([self._input(image) | inference.inputs for image in images])
        return [self._answer(output, inference) for output in found]

    def _input(self, image: np.ndarray) -> dict[str, Any]:
        shorter, longest = self.cfg.INPUT.MIN_SIZE_TEST, self.cfg.INPUT.MAX_SIZE_TEST
        height, width = image.shape[:2]
        ordered = image[:, :, ::-1] if self.cfg.INPUT.FORMAT == "BGR" else image
        resize = ResizeShortestEdge([shorter, shorter], longest).get_transform(ordered)
        pixels = np.ascontiguousarray(resize.apply_image(ordered).transpose(2, 0, 1))
        return {"image": torch.from_numpy(pixels.astype(np.float32)), "height": height, "width": width}

    def _answer(self, output: dict[str, Any], inference: Inference) -> Prediction:
        instances = semantic = panorama = votes = None
        segments: tuple[Segment, ...] = ()
        if "instances" in output:
            instances = self._instances(output["instances"].to("cpu"), inference.min_score)
        if "sem_seg" in output and self.options.task == "panoptic":
            shares = output["sem_seg"].float()
            semantic = self.labels.evaluated_ids[shares.argmax(0).cpu().numpy()]
            votes = shares.cpu().numpy() if self.keep_votes else None
        if output.get("panoptic_seg") is not None and output["panoptic_seg"][1] is not None:
            ids, listed = output["panoptic_seg"]
            panorama = np.maximum(ids.cpu().numpy(), 0).astype(np.int32)
            segments = tuple(Segment(int(s["id"]), self.labels.evaluated[s["category_id"]].id) for s in listed)
        return Prediction(instances=instances, semantic=semantic, panoptic=panorama, segments=segments, votes=votes)

    def _instances(self, found: Any, min_score: float) -> list[Instance]:
        if not found.has("pred_masks"):
            raise HarnessError(
                f"the configuration {self.options.config} predicts no masks", hint="set MODEL.MASK_ON in model.options"
            )
        masks = found.pred_masks.numpy().astype(bool)
        kinds, scores = found.pred_classes.tolist(), found.scores.tolist()
        kept = [
            Instance(mask, self.classes[kind].id, score)
            for mask, kind, score in zip(masks, kinds, scores, strict=True)
            if score >= min_score and mask.any()
        ]
        return sorted(kept, key=lambda instance: -instance.score)


class _Run:
    """The state of one training."""

    def __init__(self, network: Detectron2Network, cfg: CfgNode, stream: Stream, training: Training, out: Path) -> None:
        from detectron2 import solver

        options = network.options
        self.model, self.stream, self.training, self.out = network.model, stream, training, out
        builder = _named(options.trainer) if options.trainer else solver
        self.optimizer = builder.build_optimizer(cfg, self.model)
        self.schedule = builder.build_lr_scheduler(cfg, self.optimizer)
        self.mixed = bool(cfg.SOLVER.AMP.ENABLED) and torch.cuda.is_available()
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.mixed)
        self.frames = Frames(cfg, options, stream, training, out)
        self.step = 0

    def resume(self) -> None:
        """Load the last state and cut the log back to it."""
        state = read_state(self.out / STATE, {"step", *_PARTS}, set_aside=True)
        if state is not None:
            for name in _PARTS:
                getattr(self, name).load_state_dict(state[name])
            self.step = state["step"]
        log = self.out / LOG
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.is_file() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= self.step]
        replace(log, lambda new: new.write_text("".join(kept), encoding="utf-8"))

    def batches(self) -> Any:
        """Return the batches that are left, mapped by worker processes where there are some."""
        size = self.training.batch_size
        left = range(self.step * size, self.training.iterations * size)
        return torch.utils.data.DataLoader(
            torch.utils.data.Subset(self.frames, left),
            batch_size=size,
            num_workers=self.training.workers,
            collate_fn=list,
        )

    def advance(self, batch: list[dict]) -> float:
        """Take one step; the loss."""
        torch.manual_seed(derive(self.stream.seed, "step", self.step))
        try:
            with torch.autocast("cuda", enabled=self.mixed):
                losses = self.model(batch)
                total = sum(losses.values())
        except FloatingPointError as error:
            raise self._diverged(str(error)) from None
        if not math.isfinite(total.item()):
            raise self._diverged(", ".join(f"{name} {value.item():g}" for name, value in losses.items()))
        self.optimizer.zero_grad()
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        self.step += 1
        last = self.step == self.training.iterations
        if self.step % self.training.log_every == 0 or last:
            record = {"step": self.step, "loss": total.item(), **{name: value.item() for name, value in losses.items()}}
            with open(self.out / LOG, "a", encoding="utf-8") as handle:
                handle.write(json.dumps(record) + "\n")
        if self.step % self.training.checkpoint_every == 0 and not last:
            self._save()
        return total.item()

    def _diverged(self, what: str) -> HarnessError:
        size = self.training.batch_size
        names = ", ".join(self.stream.at(self.step * size + k).frame.name for k in range(size))
        return HarnessError(
            f"step {self.step + 1} of {self.training.iterations}: the loss is not finite ({what}); frames: {names}",
            hint='lower "SOLVER.BASE_LR" in model.options, or look at these frames',
        )

    def _save(self) -> None:
        parts = {name: getattr(self, name).state_dict() for name in _PARTS}
        replace(self.out / STATE, lambda path: torch.save({"step": self.step, **parts}, path))


class Frames(torch.utils.data.Dataset):
    """Maps positions of the stream to the inputs of the model, each under a seed of its own."""

    def __init__(self, cfg: CfgNode, options: Model, stream: Stream, training: Training, out: Path) -> None:
        from detectron2.data import DatasetMapper

        _forget()
        masks: Literal["polygon", "rle"] = "polygon" if cfg.INPUT.MASK_FORMAT == "polygon" else "rle"
        write(out / DATA, "train", stream.frames, stream.labels, masks=masks, detectron2=True)
        register(out / DATA, PREFIX)
        name = f"{PREFIX}_{'instances' if options.task == 'instance' else 'panoptic'}_train"
        cfg = cfg.clone()
        cfg.defrost()
        cfg.DATASETS.TRAIN = (name,)
        self.mapper = _named(options.mapper or f"{DatasetMapper.__module__}:{DatasetMapper.__name__}")(cfg, True)
        self.stream, self.length = stream, training.iterations * training.batch_size
        self.entries = dict(zip([frame.name for frame in stream.frames], DatasetCatalog.get(name), strict=True))

    def __len__(self) -> int:
        """Positions of the whole training."""
        return self.length

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return what the model is shown at a position; another frame where the mapper refuses one."""
        for attempt in range(_TRIES):
            draw = self.stream.at(position + attempt * self.length)
            random.seed(draw.seed)
            np.random.seed(draw.seed % 2**32)
            torch.manual_seed(draw.seed)
            mapped = self.mapper(copy.deepcopy(self.entries[draw.frame.name]))
            if mapped is not None:
                return mapped
        raise HarnessError(f"the mapper refuses {_TRIES} frames in a row; the last was {draw.frame.name}")


def _keys(options: Model) -> CfgNode:
    """Return the default configuration with the keys of the repository."""
    if options.repository:
        folder = str(Path(options.repository).resolve())
        if not Path(folder).is_dir():
            raise HarnessError(f"model.repository: no such folder: {options.repository}")
        if folder not in sys.path:
            sys.path.insert(0, folder)
    cfg = get_cfg()
    for name in options.setup:
        _named(name)(cfg)
    return cfg


def _classes_of(options: Model, labels: LabelSet) -> tuple[Label, ...]:
    return labels.things if options.task == "instance" else labels.evaluated


def _merge(cfg: CfgNode, backbone: Backbone, options: Model, labels: LabelSet) -> None:
    """Lay the file, our number of classes, the part's options and the backbone's over the keys."""
    path = config_path(options.config)
    try:
        cfg.merge_from_file(str(path))
        known = [key for key in _CLASSES if _has(cfg, key)]
        count = len(_classes_of(options, labels))
        cfg.merge_from_list([item for key in known for item in (key, count)])
        for table in (options.options, backbone.config):
            cfg.merge_from_list([item for pair in table.items() for item in pair])
    except (KeyError, ValueError, AssertionError) as error:
        raise HarnessError(
            f"{path}: {error}", hint="keys that a repository adds need its function in model.setup"
        ) from None
    if weights := backbone.checkpoint or backbone.weights:
        cfg.MODEL.WEIGHTS = weights
    cfg.MODEL.DEVICE = "cpu"


def _has(cfg: CfgNode, key: str) -> bool:
    for part in key.split("."):
        if part not in cfg:
            return False
        cfg = cfg[part]
    return True


def _budgeted(cfg: CfgNode, training: Training) -> CfgNode:
    """Return the configuration with our budget; steps of the schedule keep their share of it."""
    cfg = cfg.clone()
    cfg.defrost()
    share = training.iterations / cfg.SOLVER.MAX_ITER
    steps = {round(step * share) for step in cfg.SOLVER.STEPS}
    cfg.SOLVER.STEPS = tuple(sorted(step for step in steps if 0 < step < training.iterations))
    cfg.SOLVER.WARMUP_ITERS = min(cfg.SOLVER.WARMUP_ITERS, training.iterations - 1)
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.IMS_PER_BATCH = training.iterations, training.batch_size
    return cfg


def _fill(model: nn.Module, source: str) -> None:
    """Load weights as detectron2 does: what does not fit is left as it was drawn."""
    from detectron2.checkpoint import DetectionCheckpointer

    try:
        DetectionCheckpointer(model).load(source)
    except (OSError, AssertionError, RuntimeError, ValueError) as error:
        raise HarnessError(
            f"the weights {source!r} can't be read: {str(error).splitlines()[0] if str(error) else error!r}",
            hint="name a local file as `weights` of the backbone, or set MODEL.WEIGHTS to an empty text in its config",
        ) from None


def _named(name: str) -> Any:
    """Return what "module:name" stands for."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise HarnessError(
            f"{name!r} can't be imported: {error}", hint="write module:name, and set model.repository"
        ) from None


def _forget() -> None:
    """Take our data sets out of detectron2's lists, so that another training may register its own."""
    for name in [name for name in DatasetCatalog.list() if name.startswith(PREFIX)]:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
