"""The official scripts as oracles, and random frames that are hard for evaluators.

cityscapesscripts 2.3.0 needs two shims on current numpy (np.in1d is gone; np.count_nonzero returns np.int64, which it
cannot write as JSON). Its cache of ground truth and its matches.json go into the test's own folder.
"""

import contextlib
import copy
import importlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from harness.core.files import write_bytes
from harness.data.cityscapes import CITYSCAPES
from harness.data.coco_panoptic import file_stem
from harness.data.labels import LabelSet
from harness.data.tree import Tree


@contextlib.contextmanager
def official(folder: Path) -> Iterator[None]:
    """Official code runs inside: silent, in `folder`, on a numpy as it knew it."""
    count_nonzero, here = np.count_nonzero, Path.cwd()
    np.in1d = lambda a, b: np.isin(np.asarray(a).ravel(), b)
    np.count_nonzero = lambda *args, **kwargs: int(count_nonzero(*args, **kwargs))
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        np.count_nonzero = count_nonzero
        del np.in1d
        os.chdir(here)


def instance_scores(
    root: Path, predictions: Path, work: Path, *, split: str = "val", depth: dict | None = None
) -> dict:
    """The official result of instance AP; `depth` maps (frame, instance id) to (median distance, confidence)."""
    script = importlib.import_module("cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling")
    from cityscapesscripts.evaluation.instances2dict import instances2dict
    from cityscapesscripts.helpers.csHelpers import writeDict2JSON

    truths = sorted(str(p) for p in (root / "gtFine" / split).glob("*/*_gtFine_instanceIds.png"))
    script.args.quiet, script.args.JSONOutput = True, False
    script.args.predictionPath, script.args.predictionWalk = os.path.abspath(predictions), None
    script.args.gtInstancesFile = str(work / "gtInstances.json")
    script.args.distanceAvailable = depth is not None
    Path(script.args.gtInstancesFile).unlink(missing_ok=True)
    with official(work):
        if depth is not None:
            known = instances2dict(truths)
            for path, classes in known.items():
                name = os.path.basename(path).removesuffix("_gtFine_instanceIds.png")
                for regions in classes.values():
                    for region in regions:
                        region["medDist"], region["distConf"] = depth.get((name, region["instID"]), (-1, 0.0))
            writeDict2JSON(known, script.args.gtInstancesFile)
        files = [script.getPrediction(truth, script.args) for truth in truths]
        return script.evaluateImgLists(files, truths, script.args)


def pixel_scores(root: Path, predictions: Path, work: Path, *, split: str = "val") -> dict:
    """The official result of pixel IoU and iIoU."""
    script = importlib.import_module("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")

    truths = sorted(str(p) for p in (root / "gtFine" / split).glob("*/*_gtFine_labelIds.png"))
    script.args.quiet, script.args.JSONOutput = True, False
    script.args.predictionPath, script.args.predictionWalk = os.path.abspath(predictions), None
    with official(work):
        files = [script.getPrediction(script.args, truth) for truth in truths]
        return script.evaluateImgLists(files, truths, script.args)


def convert_panoptic(root: Path, work: Path, *, split: str = "val") -> Path:
    """The official panoptic ground truth, made by the official conversion; the path of its JSON."""
    from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic

    with official(work):
        convert2panoptic(str(root / "gtFine"), str(work), False, [split])
    return work / f"cityscapes_panoptic_{split}.json"


def panoptic_scores(truth: Path, predictions: Path, *, split: str = "val") -> dict:
    """The official result of PQ, computed in one process; {} where the official script divides by zero."""
    script = importlib.import_module("cityscapesscripts.evaluation.evalPanopticSemanticLabeling")

    known, guessed = (
        json.loads(truth.read_text()),
        json.loads((predictions / f"cityscapes_panoptic_{split}.json").read_text()),
    )
    by_name = {entry["image_id"]: entry for entry in guessed["annotations"]}
    categories = {entry["id"]: entry for entry in known["categories"]}
    matched = [(entry, by_name[entry["image_id"]]) for entry in known["annotations"]]
    with contextlib.redirect_stdout(io.StringIO()):
        statistics = script.pq_compute_single_core(
            0, matched, str(truth.with_suffix("")), str(predictions / f"cityscapes_panoptic_{split}"), categories
        )
    result = {"per_class": None, "counts": {}}
    for name, things in (("All", None), ("Things", True), ("Stuff", False)):
        try:
            result[name], classes = statistics.pq_average(categories, isthing=things)
        except ZeroDivisionError:
            result[name], classes = None, None
        if name == "All":
            result["per_class"] = classes
    for label in CITYSCAPES.evaluated:
        entry = statistics.pq_per_cat[label.id]
        result["counts"][label.name] = (entry.iou, entry.tp, entry.fp, entry.fn)
    return result


def coco_scores(
    frames: list["Frame"], *, boxes: bool = False, labels: LabelSet = CITYSCAPES, tool: str = "pycocotools"
) -> dict[str, float]:
    """The result of pycocotools, or of another tool with its interface, for the same ground truth and masks."""
    return coco_summary(coco_truth(frames, labels), coco_results(frames, boxes=boxes), labels, tool=tool)


def coco_truth(frames: list["Frame"], labels: LabelSet = CITYSCAPES) -> dict:
    """The ground truth of frames as a COCO data set; images are numbered by name from 1."""
    frames = sorted(frames, key=lambda f: f.name)
    annotations = []
    for number, frame in enumerate(frames, start=1):
        for id_ in np.unique(frame.ids).tolist():
            label = int(labels.label_of(id_))
            if label not in labels.thing_index:
                continue
            mask = frame.ids == id_
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label,
                    "iscrowd": int(not labels.is_instance(id_)),
                    "area": int(mask.sum()),
                    "bbox": [0, 0, 1, 1],
                    "segmentation": run_lengths(mask),
                }
            )
    height, width = frames[0].ids.shape
    images = [{"id": n, "height": height, "width": width, "file_name": f.name} for n, f in enumerate(frames, start=1)]
    categories = [{"id": label.id, "name": label.name} for label in labels.things]
    return {"images": images, "categories": categories, "annotations": annotations}


def coco_results(frames: list["Frame"], *, boxes: bool = False) -> list[dict]:
    """The detections of frames as COCO results, numbered as in `coco_truth`."""
    from pycocotools import mask as rle

    results = []
    for number, frame in enumerate(sorted(frames, key=lambda f: f.name), start=1):
        for label, score, mask in frame.detections:
            packed = run_lengths(mask)
            entry = {"image_id": number, "category_id": int(label), "score": score, "segmentation": packed}
            results.append(entry | ({"bbox": rle.toBbox(packed).tolist()} if boxes else {}))
    return results


def run_lengths(mask: np.ndarray) -> dict:
    """A mask as JSON has it."""
    from pycocotools import mask as rle

    packed = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return packed | {"counts": packed["counts"].decode()}


def coco_summary(
    truth: dict, results: list[dict], labels: LabelSet = CITYSCAPES, *, tool: str = "pycocotools"
) -> dict[str, float]:
    """The headline scores and those of classes; -1 where there are none."""
    known = importlib.import_module(f"{tool}.coco").COCO()
    known.dataset = truth
    with contextlib.redirect_stdout(io.StringIO()):
        known.createIndex()
        run = importlib.import_module(f"{tool}.cocoeval").COCOeval(known, known.loadRes(copy.deepcopy(results)), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    names = ("COCO_AP", "COCO_AP50", "COCO_AP75", "COCO_AP_small", "COCO_AP_medium", "COCO_AP_large")
    scores = dict(zip(names, map(float, run.stats[:6]), strict=True))
    for index, label in enumerate(labels.things):
        precision = run.eval["precision"][:, :, index, 0, 2]
        scores[f"COCO_AP/{label.name}"] = float(precision.mean()) if (precision > -1).all() else -1.0
    return scores


class Frame:
    """A frame: ids uint16 [H, W], detections (label id, score, bool mask), label map, panoptic map and its labels."""

    def __init__(self, name: str, ids: np.ndarray) -> None:
        self.name, self.ids = name, ids.astype(np.uint16)
        self.detections: list[tuple[int, float, np.ndarray]] = []
        self.semantic = np.zeros(ids.shape, np.uint8)
        self.panoptic = np.zeros(ids.shape, np.int64)
        self.labels: dict[int, int] = {}

    @property
    def city(self) -> str:
        return self.name.split("_")[0]


STUFF = [label.id for label in CITYSCAPES.evaluated if not label.is_thing]
THING = [label.id for label in CITYSCAPES.things]
ANY = [label.id for label in CITYSCAPES.labels if label.id >= 0]


def random_frame(name: str, rng: np.random.Generator, size: tuple[int, int] = (48, 64), *, things: int = 8) -> Frame:
    """Rectangles of objects, groups, void, caravans; predictions that copy, shift, split, merge, mislabel, invent."""
    height, width = size

    def box(most: float = 0.6) -> tuple[slice, slice]:
        h, w = rng.integers(1, max(2, int(height * most))), rng.integers(1, max(2, int(width * most)))
        top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        return slice(top, top + h), slice(left, left + w)

    present = rng.choice(THING, rng.integers(1, 5))
    ids = np.full(size, rng.choice([0, 7, 11, 23]), np.int64)
    for _ in range(rng.integers(0, 5)):
        ids[box()] = rng.choice(ANY)
    for number in range(rng.integers(0, things + 1)):
        kind = rng.random()
        if kind < 0.7:
            ids[box()] = rng.choice(present) * 1000 + number
        elif kind < 0.85:
            ids[box()] = rng.choice(present)
        elif kind < 0.93:
            ids[box(0.3)] = rng.choice([29, 30, 29001, 30001, 1, 2, 3])
        else:
            ids[rng.integers(height), rng.integers(width)] = rng.choice(present) * 1000 + 500 + number
    frame = Frame(name, ids)

    levels = np.round(rng.random(4), 2)  # few distinct scores, so that many are tied
    for id_ in np.unique(ids[ids >= 24]).tolist():
        for _ in range(rng.integers(0, 3)):
            mask = ids == id_
            style = rng.random()
            if style < 0.3:
                mask = np.roll(mask, tuple(rng.integers(-2, 3, 2)), (0, 1))
            elif style < 0.5:
                mask[box()] = False
            elif style < 0.6:
                mask[box()] = True
            label = id_ if id_ < 1000 else id_ // 1000
            frame.detections.append((int(label if rng.random() < 0.8 else rng.choice(ANY)), _score(rng, levels), mask))
    for _ in range(rng.integers(0, 5)):
        mask = np.zeros(size, bool)
        if rng.random() < 0.9:
            mask[box() if rng.random() < 0.8 else (rng.integers(height), rng.integers(width))] = True
        frame.detections.append((int(rng.choice(present)), _score(rng, levels), mask))

    labels = np.where(ids < 1000, ids, ids // 1000)
    frame.semantic = labels.astype(np.uint8)
    frame.panoptic = np.zeros(size, np.int64)
    for number, id_ in enumerate(np.unique(ids).tolist()):
        label = id_ if id_ < 1000 else id_ // 1000
        if label in STUFF + THING and rng.random() < 0.85:
            mask = np.roll(ids == id_, tuple(rng.integers(-1, 2, 2)), (0, 1))
            segment = int(rng.integers(1, 1 << 24)) if rng.random() < 0.5 else number + 1
            frame.panoptic[mask] = segment
            frame.labels[segment] = int(label if rng.random() < 0.85 else rng.choice(STUFF + THING))
    for _ in range(rng.integers(0, 4)):
        frame.semantic[box()] = rng.choice(ANY)
        segment = int(rng.integers(1, 1 << 24))
        frame.panoptic[box()] = segment
        frame.labels[segment] = int(rng.choice(STUFF + THING))
    drawn = set(np.unique(frame.panoptic).tolist())
    frame.labels = {segment: label for segment, label in frame.labels.items() if segment in drawn}
    return frame


def full_size_frame(name: str, rng: np.random.Generator, *, things: int = 20) -> Frame:
    """1024 x 2048 with the shapes of a street: polygons with rough outlines, thin poles, groups, about 40 masks."""
    import cv2

    height, width = 1024, 2048

    def polygon(y: float, x: float, tall: float, wide: float, vertices: int, rough: float) -> np.ndarray:
        angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
        radius = 1 + rng.normal(0, rough, vertices)
        return np.stack([x + wide * radius * np.cos(angle), y + tall * radius * np.sin(angle)], -1).astype(np.int32)

    def mask(points: np.ndarray) -> np.ndarray:
        return cv2.fillPoly(np.zeros((height, width), np.uint8), [points], 1).astype(bool)

    ids = np.full((height, width), 7, np.int32)
    ids[:460], ids[:120, 500:1000] = 11, 23
    for _ in range(70):
        label = int(rng.choice([21, 21, 8, 22, 20, 19, 17, 17, 17, 13, 12, 4]))
        tall, wide = (rng.uniform(60, 200), rng.uniform(2, 5)) if label == 17 else rng.uniform(8, 120, 2)
        points = polygon(rng.uniform(200, 700), rng.uniform(0, width), tall, wide, 40, 0.2)
        cv2.fillPoly(ids, [points], label)
    objects = []
    for number in range(things):
        label = int(rng.choice([24, 25, 26, 26, 26, 27, 28, 33, 32, 31]))
        tall = np.exp(rng.normal(3.3, 0.8))
        points = polygon(rng.uniform(450, 750), rng.uniform(0, width), tall, tall * rng.uniform(0.4, 2), 60, 0.06)
        cv2.fillPoly(ids, [points], label * 1000 + number if rng.random() < 0.93 else label)
        objects.append((label, points))
    ids[-60:], ids[:, :5] = 1, 3
    frame = Frame(name, ids)
    for label, points in objects:
        for _ in range(rng.integers(1, 4)):
            drawn = mask(points + rng.integers(-4, 5, points.shape) + rng.integers(-6, 7, 2))
            if drawn.any():
                frame.detections.append((label, float(rng.random()), drawn))
    wave = np.repeat(rng.integers(-2, 3, width // 16), 16)  # outlines of upsampled maps: off by some pixels, in steps
    rough = np.clip(np.arange(height)[:, None] + wave, 0, height - 1)
    guess = np.roll(ids, 2, axis=1)[rough, np.arange(width)]
    labels = np.where(guess < 1000, guess, guess // 1000)
    frame.semantic = labels.astype(np.uint8)
    for number, id_ in enumerate(np.unique(guess).tolist(), start=1):
        label = id_ if id_ < 1000 else id_ // 1000
        if label in STUFF + THING:
            frame.panoptic[guess == id_] = label * 1000 + number
            frame.labels[label * 1000 + number] = label
    return frame


def _score(rng: np.random.Generator, levels: np.ndarray) -> float:
    return float(rng.choice(levels)) if rng.random() < 0.6 else float(rng.random())


def write(
    frames: list[Frame],
    root: Path,
    predictions: Path,
    rng: np.random.Generator,
    *,
    split: str = "val",
    labels: LabelSet = CITYSCAPES,
) -> None:
    """The tree (without images) and all three results on disk; ids are those of `labels`."""
    Tree.create(root, labels)
    panoptic = predictions / "panoptic" / file_stem(labels, split)
    annotations = []
    for frame in frames:
        truth = root / "gtFine" / split / frame.city
        truth.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame.ids).save(truth / f"{frame.name}_gtFine_instanceIds.png")
        label_ids = labels.label_of(frame.ids).astype(np.uint8)
        Image.fromarray(label_ids).save(truth / f"{frame.name}_gtFine_labelIds.png")
        for folder in (predictions / "instances" / "masks", predictions / "semantic", panoptic):
            folder.mkdir(parents=True, exist_ok=True)
        write_masks(frame, predictions / "instances", rng)
        Image.fromarray(frame.semantic).save(predictions / "semantic" / f"{frame.name}_pred_labelIds.png")
        rgb = np.stack([frame.panoptic % 256, frame.panoptic // 256 % 256, frame.panoptic // 65536], -1).astype(
            np.uint8
        )
        file = f"{frame.name}_panoptic.png"
        Image.fromarray(rgb).save(panoptic / file)
        segments = [{"id": segment, "category_id": label} for segment, label in frame.labels.items()]
        annotations.append({"image_id": frame.name, "file_name": file, "segments_info": segments})
    write_bytes(panoptic.with_suffix(".json"), json.dumps({"annotations": annotations}).encode())


def write_masks(frame: Frame, folder: Path, rng: np.random.Generator) -> None:
    """The .txt of a frame with its masks, in the encodings that people use; now and then a line is listed twice."""
    lines = []
    for number, (label, score, mask) in enumerate(frame.detections):
        file = folder / "masks" / f"{frame.name}_{number}.png"
        style = rng.random()
        if style < 0.6:
            image = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
        elif style < 0.7:
            image = Image.fromarray(np.where(mask, 1, 0).astype(np.uint8))
        elif style < 0.8:
            image = Image.fromarray(mask)
        elif style < 0.9:
            image = Image.fromarray(np.where(mask, 1, 0).astype(np.uint8))
            image.putpalette([0, 0, 0, 200, 10, 10] + [0] * 762)
        else:
            image = Image.fromarray(np.where(mask[..., None], [9, 200, 3], 0).astype(np.uint8))
        image.save(file)
        lines.append(f"masks/{file.name} {label} {score!r}\n")
    if lines and rng.random() < 0.2:
        lines.append(lines[0].rsplit(" ", 1)[0] + " 0.123\n")
        label, _, mask = frame.detections[0]
        frame.detections[0] = (label, 0.123, mask)
    (folder / f"{frame.name}.txt").write_text("".join(lines))
