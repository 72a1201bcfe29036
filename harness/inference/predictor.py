"""The predictor runs a trained segmenter on any images and writes official prediction files and pictures.

A checkpoint is the folder of a training (`harness run` leaves it in the store), or a public one: a hub id, a folder or
a file that the adapter's `checkpoint` takes. torch is imported when something runs.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from harness.core.config import Strict, parse, parse_json, read_json
from harness.core.environment import checked_device
from harness.core.errors import HarnessError
from harness.core.files import refused, write_bytes
from harness.core.progress import Report, silent
from harness.data import png, prediction_files
from harness.data.base import IMPLIED
from harness.data.png import read_image
from harness.data.prediction import Prediction
from harness.inference.overlays import overlays
from harness.inference.sliding import slide
from harness.planning.suite import load_part
from harness.segmenters.base import SEGMENTERS, SegmenterAdapter, SegmenterPart
from harness.segmenters.options import Backbone, Inference
from harness.weights.integrity import check_file

if TYPE_CHECKING:
    from harness.segmenters.network import Network

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
OVERLAYS, SETTINGS = "overlays", "predict.json"
_PLAIN = re.compile(r"[\w-]+")


class InputImage(NamedTuple):
    """An image to predict for: its name in the results, its file, its size (height, width)."""

    name: str
    path: Path
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """This says how images are shown to the network and what is kept.

    `crop` (height, width) and `overlap` (share of a side) count for sliding windows; `threshold` for overlays alone.
    """

    inference: Literal["whole", "sliding"] = "whole"
    crop: tuple[int, int] = (512, 1024)
    overlap: float = 0.25
    batch_size: int = 1
    threshold: float = 0.8
    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    split: str = "val"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network ready to predict, its inference settings, and a description of its checkpoint."""

    network: "Network[Any, Any]"
    inference: Inference
    source: str
    weights: str
    """A hash of them; two networks of one source may differ in it."""


def pictures(source: Path) -> list[InputImage]:
    """Return the images of a folder and the folders in it, linked ones too, or the one image, sorted by name.

    The name is that of the file without suffix, and without `_leftImg8bit`, so that Cityscapes' frames keep theirs.
    What this command wrote is no input: folders that hold its settings are left out. HarnessError for no image, one
    that can't be read or has no pixels, two of one name, and a name with control characters.
    """
    if source.is_file():
        files = [source]
    elif source.is_dir():
        files = sorted(_images(source))
    else:
        raise HarnessError(f"{source}: no such file or folder of images")
    if not files:
        raise HarnessError(f"{source}: no image in it", hint=f"images end in {', '.join(SUFFIXES)}")
    found: dict[str, InputImage] = {}
    for path in files:
        name = path.stem.removesuffix("_leftImg8bit")
        if not name.isprintable():
            raise HarnessError(f"{path}: control characters in a file name", hint="rename it")
        if name in found:
            raise HarnessError(f"{path}: {found[name].path} would have the same results", hint="rename one of them")
        found[name] = InputImage(name, path, _size(path))
    return [found[name] for name in sorted(found)]


def _images(source: Path) -> Iterator[Path]:
    seen = set()
    for folder, inner, names in os.walk(source, followlinks=True):
        here = Path(folder).resolve()
        if here in seen or SETTINGS in names:  # a link that leads back; answers
            inner.clear()
            continue
        seen.add(here)
        yield from (Path(folder, n) for n in names if Path(n).suffix.lower() in SUFFIXES and not n.startswith("."))


def load(checkpoint: str, segmenter: str | None = None, backbone: str | None = None, profile: str = "") -> Loaded:
    """Return the network of a checkpoint, in evaluation mode.

    The folder of a training knows its segmenter; a `segmenter` that is given must be the same, and its inference table
    under `profile` (default `mini`) is used. A public checkpoint needs segmenter and backbone (profile: `paper`).
    HarnessError when nothing is there, it is of another architecture, or it lacks weights of the segmenter.
    """
    from harness.segmenters.checkpoint import is_trained

    if is_trained(Path(checkpoint)):
        return _own(Path(checkpoint), _part(segmenter, profile or "mini") if segmenter else None, backbone)
    if segmenter is None or backbone is None:
        raise _nothing(checkpoint)
    return _public(checkpoint, _part(segmenter, profile or "paper"), backbone)


def predict(
    loaded: Loaded, todo: Sequence[InputImage], out: Path, asked: PredictSettings, report: Report = silent
) -> list[str]:
    """Predict for every picture; return the tasks that were done. Writes instances/, semantic/, panoptic/, overlays/.

    Images of one size that follow each other are one batch. What is written already is left alone, so a run that was
    stopped goes on; an image that changed, or whose answer did, is answered again. HarnessError when `out` holds
    answers of other settings or weights.
    """
    if not _PLAIN.fullmatch(asked.split):
        raise HarnessError(f"split {asked.split!r}: expected letters, digits, '-' and '_': it is part of file names")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(out, error) from None
    _keep_settings(out, loaded, asked)
    network, around = _ready(loaded.network, asked)
    done = 0
    for group in _groups(todo, asked.batch_size):
        made_from = [prediction_files.hash_of(picture.path) for picture in group]
        names = [picture.name for picture in group]
        if not all(prediction_files.written(out, name, of) for name, of in zip(names, made_from, strict=True)):
            images = [read_image(picture.path) for picture in group]
            with around():
                answers = _answers(network, images, loaded, asked)
            for picture, image, answer, of in zip(group, images, answers, made_from, strict=True):
                for kind, drawn in overlays(image, answer, asked.threshold, loaded.network.labels).items():
                    png.write(out / OVERLAYS / f"{picture.name}_{kind}.png", drawn)
                prediction_files.write(out, asked.split, picture.name, answer, loaded.network.labels, made_from=of)
        done += len(group)
        report(done, len(todo), group[-1].name)
    return prediction_files.finish(out, asked.split, [picture.name for picture in todo], loaded.network.labels)


def _answers(
    network: "Network[Any, Any]", images: list[np.ndarray], loaded: Loaded, asked: PredictSettings
) -> list[Prediction]:
    if asked.inference == "whole":
        return network.predict(images, loaded.inference)

    def ask(crops: Sequence[np.ndarray]) -> list[Prediction]:
        parts = (crops[first : first + asked.batch_size] for first in range(0, len(crops), asked.batch_size))
        return [answer for part in parts for answer in network.predict(part, loaded.inference)]

    return [slide(image, ask, loaded.network.labels, crop=asked.crop, overlap=asked.overlap) for image in images]


def _ready(
    network: "Network[Any, Any]", asked: PredictSettings
) -> "tuple[Network[Any, Any], Callable[[], AbstractContextManager[None]]]":
    """Yield the network on its device, and what its calls run inside of: no gradients, mixed precision."""
    import torch

    device = "cuda" if asked.device == "auto" and torch.cuda.is_available() else asked.device.replace("auto", "cpu")
    network = network.to(checked_device(device)).eval()
    network.keep_votes = asked.inference == "sliding"
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(asked.precision)

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        mixed = kind is not None and torch.device(device).type != "cpu"
        with torch.inference_mode(), torch.autocast(torch.device(device).type, dtype=kind, enabled=mixed):
            yield

    return network, around


def _groups(todo: Sequence[InputImage], size: int) -> Iterator[list[InputImage]]:
    group: list[InputImage] = []
    for picture in todo:
        if group and (len(group) == size or picture.size != group[0].size):
            yield group
            group = []
        group.append(picture)
    if group:
        yield group


def _keep_settings(out: Path, loaded: Loaded, asked: PredictSettings) -> None:
    """Write what decides the answers, or compare with what an earlier run wrote."""
    wanted = {
        "source": loaded.source,
        "weights": loaded.weights,
        "inference": loaded.inference.model_dump(mode="json"),
        "how": asked.inference,
        "threshold": asked.threshold,
        "split": asked.split,
        "precision": asked.precision,
    }
    if asked.inference == "sliding":
        wanted |= {"crop": list(asked.crop), "overlap": asked.overlap}
    path = out / SETTINGS
    if path.is_file():
        try:
            found = read_json(path)
        except HarnessError:
            found = {}
        if differing := sorted(key for key in wanted if found.get(key) != wanted[key]):
            key = differing[0]
            raise HarnessError(
                f"{out} holds predictions made otherwise: {key} was {found.get(key)!r}, now {wanted[key]!r}",
                hint="give another folder with --output",
            )
        return
    write_bytes(path, (json.dumps(wanted, indent=1, sort_keys=True) + "\n").encode())


def _size(path: Path) -> tuple[int, int]:
    height, width = png.size_of(path)
    if width == 0 or height == 0:
        raise HarnessError(f"{path}: an image of {width} x {height} pixels has nothing to be found")
    return height, width


def _part(name: str, profile: str) -> SegmenterPart:
    data, path = load_part("segmenters", name, profile)
    return parse(SegmenterPart, data, path)


def _nothing(checkpoint: str) -> HarnessError:
    if Path(checkpoint).is_dir():
        if (config := Path(checkpoint) / "config.json").is_file():
            check_file(config)
        return HarnessError(
            f"{checkpoint}: not the folder of a training: it has no config.json of one",
            hint="for a public checkpoint name --segmenter and --backbone, too",
        )
    return HarnessError(
        f"the checkpoint {checkpoint!r} is no folder here",
        hint="give the folder of a training; for a hub id name --segmenter and --backbone, too",
    )


def _own(folder: Path, part: SegmenterPart | None, backbone: str | None) -> Loaded:
    from harness.segmenters import checkpoint

    trained = checkpoint.read(folder)
    if part is not None:
        asked, found = {"adapter": part.adapter}, {"adapter": trained.adapter}
        if backbone is not None:
            asked |= _architecture(part.chosen(backbone))
            found |= _architecture(trained.backbone)
        for key, value in asked.items():
            if value != found[key]:
                raise HarnessError(
                    f"{folder}: the checkpoint is of another architecture: {key} {found[key]!r}, asked was {value!r}",
                    hint="leave --segmenter and --backbone out: the folder knows them",
                )
        inference = part.inference
    else:
        inference = parse(SEGMENTERS.load(trained.adapter).Inference, _table(folder), f"{folder}, inference")
    network = checkpoint.load(folder)
    source = f"{trained.adapter} of {folder.resolve()}"
    return Loaded(network=network, inference=inference, source=source, weights=_hash(network, source))


def _architecture(backbone: Backbone) -> dict[str, Any]:
    return {"family": backbone.family, "config": backbone.config}


def _table(folder: Path) -> dict[str, Any]:
    """The inference table a training was planned with, where it lies in a store; else the adapter's defaults."""
    try:
        manifest = parse_json((folder / "manifest.json").read_text(encoding="utf-8"))
        return manifest["spec"]["segmenter"]["inference"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _public(source: str, part: SegmenterPart, backbone: str) -> Loaded:
    chosen = part.chosen(backbone).model_copy(update={"checkpoint": source, "weights": None})
    network = _whole(part.kind, chosen, part.kind.reading(source, part.model, IMPLIED), source)
    name = f"{part.adapter} of {source}"
    return Loaded(network=network.eval(), inference=part.inference, source=name, weights=_hash(network, name))


def _hash(network: "Network[Any, Any]", source: str) -> str:
    """Return a hash of all weights; HarnessError when some are not finite."""
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(network.state_dict().items()):
        if value.is_floating_point() and not value.isfinite().all():
            raise HarnessError(
                f"{source}: the weights {name} are not finite: nothing it says means anything",
                hint="train it again, with a lower learning rate if the losses rose",
            )
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _whole(adapter: type[SegmenterAdapter[Any]], backbone: Backbone, model: Strict, source: str) -> "Network[Any, Any]":
    """Return the network with nothing of it drawn at random: what a checkpoint lacks differs between two builds."""
    import torch

    built = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        built.append(adapter.build(backbone, model, IMPLIED))
    one, two = (network.state_dict() for network in built)
    drawn = [name for name, value in one.items() if not torch.equal(value, two[name])]
    if drawn:
        raise HarnessError(
            f"{source}: the checkpoint lacks {len(drawn)} tensors of this segmenter, or has them for other classes; "
            f"first: {', '.join(drawn[:3])}",
            hint="a checkpoint for other classes has to be trained further: set it as `checkpoint` of a backbone",
        )
    return built[0]
