"""This module adds up the disk, GPU hours and checkpoints that a plan needs, without torch, and never asks the
hub.

GPU hours come from the speeds that a rehearsal on a GPU left in the store, or `make gpu` under results/gpu; without
such, they are not measured, and nothing is guessed.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from harness.core.config import Strict, parse, parse_json, read_json
from harness.core.environment import gpus
from harness.core.errors import HarnessError
from harness.core.files import write_text
from harness.core.paths import results_folder
from harness.core.store import Store
from harness.data.base import Dataset, known_ids, open_dataset
from harness.planning.plan import Plan, chain
from harness.quality import weight_files
from harness.segmenters.options import Training
from harness.stages.assess import AssessSpec
from harness.stages.synthesize import SynthesisSpec
from harness.stages.train import TrainSpec
from harness.weights.checkpoints import Need

_LOOKED_AT = 32
"""Frames of a split, evenly chosen, whose ids are looked at before anything is made; all of a small one."""
_GENERATED = 2.0
"""Bytes a pixel of a painted square's PNG: about those of a photograph."""
_PREDICTION = 2 * 2**20
"""Bytes of the answers for a frame, at most: a hundred masks, a label map, a panoptic map."""
_WEIGHTS = (".safetensors", ".bin", ".pth", ".pkl")
_COPIES = 7
"""Of a network's weights on disk while it trains: weights and two moments of the state, of the one before, and what is
kept (harness/segmenters/training.py)."""


TRACKERS = {"tensorboard": "tensorboard", "wandb": "'harness[wandb]'"}
"""What pip installs for each."""

RECORD = "rehearsal.json"
"""The file of a store in which a rehearsal leaves what it measured."""


class Speeds(Strict):
    """The measured speeds of one GPU: megapixels of crops a second by network, seconds a crop by generator; and the
    parameters of networks."""

    device: str = ""
    megapixels_a_second: dict[str, float] = {}
    seconds_a_crop: dict[str, float] = {}
    parameters: dict[str, int] = {}


@dataclass(frozen=True, kw_only=True)
class Demands:
    """This holds what the remaining steps of a plan need (bytes at most, GPU hours or None: not measured), and
    what is missing."""

    disk: float
    unsized: tuple[str, ...]
    """Networks whose checkpoint is not there, so that the disk of their weights is not counted."""
    hours: float | None
    unmeasured: int
    """The number of steps without a measured speed."""
    device: str
    missing: dict[str, tuple[Need, ...]]
    """By the part that reads them."""


def refuse(plan: Plan, store: Store) -> None:
    """Raise HarnessError for what stops steps still to be made and is known before any: trackers, frames, ids."""
    refuse_trackers(plan, store)
    if plan.dataset.external is None or not plan.missing(store):
        return
    dataset = open_dataset(plan.dataset.spec, plan.dataset.external)
    wanted, frames = plan.profile.synthesis.frames, dataset.frames("train")
    if wanted is not None and len(frames) < wanted:
        raise HarnessError(
            f"{plan.dataset.external}: profile {plan.profile_name!r} takes the first {wanted} train frames, "
            f"and there are {len(frames)}",
            hint=f"add frames, or --set profiles.{plan.profile_name}.synthesis.frames={len(frames)}",
        )
    for some in (frames, dataset.frames("val")):
        for frame in some[:: -(-len(some) // _LOOKED_AT)]:
            known_ids(frame, dataset.labels)


def missing_checkpoints(plan: Plan, store: Store) -> dict[str, tuple[Need, ...]]:
    """Return the checkpoints that steps still to be made read and that are not here, by the part that reads them."""
    names, needs = _parts(plan)
    found: dict[str, tuple[Need, ...]] = {}
    for name in (names[key] for key in plan.missing(store) if key in names):
        if name not in found and (lacking := tuple(need for need in needs[name] if not need.found)):
            found[name] = lacking
    return found


def of_missing(missing: Mapping[str, tuple[Need, ...]]) -> Iterator[str]:
    """Yield the lines to print about missing checkpoints: what reads them, and how to get them."""
    for name, needs in missing.items():
        yield f"missing: {name} reads {', '.join(need.names[0] for need in needs)}"
        yield from (f"  {need.remedy}" for need in needs)


def refuse_trackers(plan: Plan, store: Store) -> None:
    """Raise HarnessError for a tracker that a remaining training names and that is not installed; where nothing can be
    trained, nothing is asked of trackers."""
    if find_spec("torch") is None:
        return
    installed: dict[str, bool] = {}
    for step in plan.missing(store).values():
        training = step.spec.segmenter.training if isinstance(step.spec, TrainSpec) else None
        for tracker in training.trackers if isinstance(training, Training) else ():
            if tracker not in installed:
                installed[tracker] = find_spec(tracker) is not None
            if not installed[tracker]:
                raise HarnessError(
                    f"{step.label}: key 'training.trackers' of its segmenter: {tracker} is not installed",
                    hint=f"pip install {TRACKERS[tracker]}, or leave it out of the list",
                )


def demands(plan: Plan, store: Store, speeds: Speeds | None = None) -> Demands:
    """Compute what the remaining steps of a plan need of this machine. `speeds`: default those that are known."""
    speeds, dataset = speeds or known_speeds(store), open_dataset(plan.dataset.spec, plan.dataset.external)
    names, needs = _parts(plan)
    frame_bytes = _bytes_of_a_frame(dataset)
    kept, running, hours, unmeasured = 0.0, 0.0, 0.0, 0
    unsized: dict[str, None] = {}
    for key, step in plan.missing(store).items():
        if step.kind == "synthesize":
            size, spent = _synthesis(cast(SynthesisSpec, step.spec), dataset, frame_bytes, speeds, names[key])
        elif step.kind == "train":
            counted = 4.0 * speeds.parameters.get(names[key], 0)  # kept in fp32
            weights = counted or sum(map(_bytes, needs[names[key]]))
            size, spent = weights, _training(cast(TrainSpec, step.spec), speeds, names[key])
            running = max(running, _COPIES * weights)
            if not weights:
                unsized[names[key]] = None
        else:
            size, spent = (len(dataset.frames("val")) * _PREDICTION if step.kind == "predict" else 0), 0.0
        kept, hours, unmeasured = kept + size, hours + (spent or 0.0), unmeasured + (spent is None)
    return Demands(
        disk=kept + running,
        unsized=tuple(unsized),
        hours=None if unmeasured else hours,
        unmeasured=unmeasured,
        device=speeds.device,
        missing=missing_checkpoints(plan, store),
    )


def sentences(found: Demands, store: Store) -> Iterator[str]:
    """Yield the sentences to print about the demands."""
    place, room = free(store)
    short = ": too little, make room or choose another disk with --store" if found.disk > room else ""
    yield f"disk: {of_disk(found, place, room)}{short}"
    if found.hours is None:
        yield f"GPU hours: not measured for {found.unmeasured} steps; `harness rehearse` measures them on a GPU"
    else:
        each = found.hours / max(len(gpus()), 1)
        yield f"GPU hours: {found.hours:,.1f} by the speeds of {found.device}, {each:,.1f} for each GPU of this machine"
    yield from of_missing(found.missing)


def of_disk(found: Demands, place: Path, room: int) -> str:
    """Return what is needed of the disk and what is free there, as a clause."""
    without = f", without the weights of {', '.join(found.unsized)}" if found.unsized else ""
    return f"{found.disk / 1e9:,.1f} GB at most{without}; {room / 1e9:,.1f} GB are free in {place}"


def remember(store: Store, speeds: Speeds) -> None:
    """Keep what a rehearsal measured, for later plans on this store."""
    write_text(store.root / RECORD, speeds.model_dump_json(indent=1) + "\n")


def known_speeds(store: Store) -> Speeds:
    """Return what a rehearsal left in the store, and where it measured no speed what `make gpu` left."""
    path, benched = store.root / RECORD, _benched()
    if not path.is_file():
        return benched
    found = parse(Speeds, read_json(path, "record of a rehearsal", hint=f"remove {path}"), path)
    return found if found.device else benched.model_copy(update={"parameters": found.parameters})


def _benched() -> Speeds:
    """Return the figures under results/gpu; where they are of several devices, none are taken."""
    folders = sorted(path for path in (results_folder() / "gpu").glob("*") if path.is_dir())
    if len(folders) != 1:
        return Speeds()
    trained = {
        f"{row['part']}-{row['backbone']}": row["images_a_second"] * row["crop"][0] * row["crop"][1] / 1e6
        for row in _rows(folders[0] / "training.json")
        if row.get("precision") == "bf16" and "crop" in row
    }
    painted: dict[str, float] = {}
    for row in _rows(folders[0] / "synthesis.json"):
        if "part" in row and "," not in row["precision"]:  # not those of a compiled network
            painted[row["part"]] = min(row["seconds_a_crop"], painted.get(row["part"], float("inf")))
    return Speeds(device=folders[0].name, megapixels_a_second=trained, seconds_a_crop=painted)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = parse_json(path.read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return rows if isinstance(rows, list) else []


def _parts(plan: Plan) -> tuple[dict[str, str], dict[str, tuple[Need, ...]]]:
    """Key of a step to the name of its generator or network, or "image quality"; and what each of these reads."""
    names: dict[str, str] = {}
    needs: dict[str, tuple[Need, ...]] = {}
    for row in plan.rows:
        for step in (step for final in row.finals.values() for step in chain(final)):
            if step.kind == "synthesize":
                names[step.key] = row.arm.generator
                needs[row.arm.generator] = cast(SynthesisSpec, step.spec).generator.needs
            elif step.kind == "train":
                spec = cast(TrainSpec, step.spec)
                names[step.key] = name = f"{row.arm.segmenter}-{row.arm.backbone}"
                needs[name] = spec.segmenter.needs(spec.backbone)
            elif step.kind == "assess":
                names[step.key] = "image quality"
                networks = cast(AssessSpec, step.spec).networks.values()
                needs["image quality"] = tuple(weight_files.need(one) for one in networks if not one.optional)
    return names, needs


def _synthesis(
    spec: SynthesisSpec, dataset: Dataset, frame_bytes: float, speeds: Speeds, name: str
) -> tuple[float, float | None]:
    """Return bytes and GPU hours of a synthesis; a generator without a checkpoint needs no GPU."""
    frames = len(dataset.frames(spec.split))
    images = min(spec.limit or frames, frames) * spec.top_k * spec.variants
    side = getattr(spec.generator.options, "size", 0)
    seconds = speeds.seconds_a_crop.get(name) if spec.generator.needs else 0.0
    return images * (frame_bytes + _GENERATED * side**2), None if seconds is None else images * seconds / 3600


def _training(spec: TrainSpec, speeds: Speeds, name: str) -> float | None:
    training, speed = spec.segmenter.training, speeds.megapixels_a_second.get(name)
    if speed is None or not isinstance(training, Training):
        return None
    pixels = training.iterations * training.batch_size * training.crop[0] * training.crop[1]
    return pixels / 1e6 / speed / 3600


def _bytes_of_a_frame(dataset: Dataset) -> float:
    frames = dataset.frames("train")
    seen = frames[:: max(1, len(frames) // 64)]
    return sum(path.stat().st_size for frame in seen for path in frame.files) / max(len(seen), 1)


def _bytes(need: Need) -> int:
    """Return the size of the weights of a checkpoint; 0 when it is not there."""
    place = need.found
    if place is None:
        return 0
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.suffix in _WEIGHTS]
    return max((path.stat().st_size for path in files), default=0)


def free(store: Store) -> tuple[Path, int]:
    """Return the folder that the store lies in, or will, and the bytes that are free there."""
    place = store.root
    while not place.exists():
        place = place.parent
    try:
        return place, shutil.disk_usage(place).free
    except OSError as error:
        raise HarnessError(f"{place}: {error.strerror or error}", hint="choose another folder with --store") from None
