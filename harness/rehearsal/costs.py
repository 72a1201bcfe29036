"""What a plan costs: disk by arithmetic, GPU hours from measured speeds, or nothing where none was measured.

Torch-free: `plan` asks too. Speeds are those that `make gpu` left under results/gpu, or an earlier rehearsal on a GPU
in the store.
"""

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast

from harness.core.config import Strict, parse, read_json
from harness.core.environment import gpus
from harness.core.errors import HarnessError
from harness.core.files import write_text
from harness.core.paths import RESULTS
from harness.core.store import Store
from harness.data.base import Dataset, Frame
from harness.planning.plan import Step
from harness.segmenters.options import Training
from harness.stages.synthesize import SynthesisSpec
from harness.stages.train import TrainSpec

RECORD = "rehearsal.json"
"""What a rehearsal measured, in the store."""

GENERATED = 2.0
"""Bytes of a painted square's PNG a pixel: about that of a photograph."""
PREDICTION = 2 * 2**20
"""Bytes of the answers for a frame, at most: a hundred masks, a label map, a panoptic map."""
COPIES = 7
"""Of the weights while a network trains: it, two moments, the state before, and what is kept (training.py)."""


class Speeds(Strict):
    """Measured speeds of one device by part; what is not there was not measured."""

    device: str = ""
    parameters: dict[str, int] = {}
    """Of a network, by its name."""
    megapixels_a_second: dict[str, float] = {}
    """Of crops in a training, by the name of the network."""
    seconds_a_crop: dict[str, float] = {}
    """Of a synthesis, by the name of the generator."""


class Share(NamedTuple):
    """What one step takes: bytes that stay, bytes more while it runs, GPU hours (None: not measured)."""

    kept: float
    running: float
    hours: float | None


@dataclass(frozen=True, kw_only=True)
class Costs:
    """All that is to be made of a plan, by the label of the step and its kind."""

    shares: dict[str, Share] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    """Networks whose size is not known, so that their disk is not counted."""

    @property
    def disk(self) -> float:
        """Bytes at most: everything kept, and the largest running step."""
        return sum(share.kept for share in self.shares.values()) + max(
            (share.running for share in self.shares.values()), default=0
        )

    @property
    def hours(self) -> float | None:
        """GPU hours in all; None where a step was not measured."""
        found = [share.hours for share in self.shares.values()]
        return None if any(hours is None for hours in found) else sum(cast(list[float], found))

    def ends(self, devices: int) -> date | None:
        """The day on which so many devices would be done, if they begin now."""
        if self.hours is None:
            return None
        return date.today() + timedelta(hours=self.hours / max(devices, 1))


def costs(steps: Iterable[Step], dataset: Dataset, names: Mapping[str, str], speeds: Speeds) -> Costs:
    """What `steps` take. `names`: key of a step to the name of its generator or network."""
    shares: dict[str, Share] = {}
    unknown: list[str] = []
    frames = _Frames(dataset)
    for step in steps:
        name = names.get(step.key, step.label)
        if step.kind == "synthesize":
            shares[f"{step.kind} {step.label}"] = _synthesis(cast(SynthesisSpec, step.spec), name, frames, speeds)
        elif step.kind == "train" and name in speeds.parameters:
            shares[f"{step.kind} {step.label}"] = _training(cast(TrainSpec, step.spec), name, speeds)
        elif step.kind == "train":
            unknown.append(name)
            shares[f"{step.kind} {step.label}"] = _hours_of_training(cast(TrainSpec, step.spec), name, speeds)
        elif step.kind == "predict":
            shares[f"{step.kind} {step.label}"] = Share(len(dataset.frames("val")) * PREDICTION, 0, 0.0)
    return Costs(shares=shares, unknown=tuple(dict.fromkeys(unknown)))


class _Frames:
    """The train frames of a data set, and what files of one take on the mean."""

    def __init__(self, dataset: Dataset) -> None:
        self.every: list[Frame] = list(dataset.frames("train"))
        seen = self.every[:: max(1, len(self.every) // 64)]
        self.bytes = sum(path.stat().st_size for frame in seen for path in frame.files) / len(seen)


def _synthesis(spec: SynthesisSpec, name: str, frames: _Frames, speeds: Speeds) -> Share:
    images = min(spec.limit or len(frames.every), len(frames.every)) * spec.top_k * spec.variants
    side = getattr(spec.generator.options, "size", 0)
    paints = bool(spec.generator.needs)
    seconds = speeds.seconds_a_crop.get(name) if paints else 0.0
    hours = None if seconds is None else images * seconds / 3600
    return Share(images * (frames.bytes + GENERATED * side**2), 0, hours)


def _training(spec: TrainSpec, name: str, speeds: Speeds) -> Share:
    kept = 4 * speeds.parameters[name]
    return Share(kept, COPIES * kept, _hours_of_training(spec, name, speeds).hours)


def _hours_of_training(spec: TrainSpec, name: str, speeds: Speeds) -> Share:
    training, speed = spec.segmenter.training, speeds.megapixels_a_second.get(name)
    if speed is None or not isinstance(training, Training):
        return Share(0, 0, None)
    megapixels = training.iterations * training.batch_size * training.crop[0] * training.crop[1] / 1e6
    return Share(0, 0, megapixels / speed / 3600)


def known_speeds(store: Store) -> Speeds:
    """What was measured: by a rehearsal with this store, and by `make gpu` on this device."""
    path = store.root / RECORD
    rehearsed = (
        parse(Speeds, read_json(path, "record of a rehearsal", hint=f"remove {path}"), path)
        if path.is_file()
        else Speeds()
    )
    benched = _benched()
    return Speeds(
        device=rehearsed.device or benched.device,
        parameters=rehearsed.parameters,
        megapixels_a_second=benched.megapixels_a_second | rehearsed.megapixels_a_second,
        seconds_a_crop=benched.seconds_a_crop | rehearsed.seconds_a_crop,
    )


def remember(store: Store, speeds: Speeds) -> None:
    """Keep what a rehearsal measured, for `plan`."""
    write_text(store.root / RECORD, speeds.model_dump_json(indent=1) + "\n")


def _benched() -> Speeds:
    """The figures of results/gpu for this machine's GPU; where it has none, of the only device that there is."""
    folders = sorted(path for path in (RESULTS / "gpu").glob("*") if path.is_dir())
    if gpus():
        folders = [folder for folder in folders if _is_here(folder.name)]
    if len(folders) != 1:
        return Speeds()
    training, synthesis = (_rows(folders[0] / f"{name}.json") for name in ("training", "synthesis"))
    trained = {}
    for row in training:
        if row.get("precision") == "bf16" and "crop" in row:
            pixels = row["crop"][0] * row["crop"][1]
            trained[f"{row['part']}-{row['backbone']}"] = row["images_a_second"] * pixels / 1e6
    painted: dict[str, float] = {}
    for row in synthesis:
        if "part" in row and "," not in row["precision"]:  # not those of a compiled network
            painted[row["part"]] = min(row["seconds_a_crop"], painted.get(row["part"], float("inf")))
    return Speeds(device=folders[0].name, megapixels_a_second=trained, seconds_a_crop=painted)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, KeyError):
        return []


def _is_here(slug: str) -> bool:
    """Whether a folder of results/gpu is called after a GPU of this machine."""
    if not shutil.which("nvidia-smi"):
        return False
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout.lower()
    return all(word in listed for word in slug.lower().split("-"))


def free(store: Store) -> tuple[Path, int]:
    """The folder that the store lies in or will, and the bytes that are free there."""
    place = store.root
    while not place.exists():
        place = place.parent
    try:
        return place, shutil.disk_usage(place).free
    except OSError as error:
        raise HarnessError(f"{place}: {error.strerror or error}", hint="choose another folder with --store") from None
