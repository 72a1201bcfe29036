"""The stage synthesize runs phases 1 to 3 of the method over one split of a data set.

`out` becomes a tree of training images (leftImg8bit, gtFine; labels.json beside them for other labels than Cityscapes')
with

    manifest.jsonl   one line per image: where it comes from, prompt, seed, boxes, files (harness/synthesis/manifest.py)
    crops/           real/, mask/ and generated/ squares, before the paste, for the image metrics
    frames/          with frames = true, a second tree of the full-frame composites
    samples.png      a sheet to look at
    synthesis.json   what was asked for

The work list is cut into batches that depend on the specification alone, and a batch counts once its record is written:
a run that was killed does its last batches again, as wholes, and ends with the same files.
"""

import hashlib
import json
import logging
import shutil
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from harness.core.config import Specification, parse_json
from harness.core.environment import cores, gpus
from harness.core.errors import HarnessError
from harness.core.files import hash_into, write_bytes
from harness.core.progress import Report
from harness.core.seeds import derive
from harness.data import png
from harness.data.base import Dataset, Frame, labels_key
from harness.data.tree import Tree
from harness.generators.base import Generator, GeneratorPart, Place, Prompt, Stock, checked
from harness.stages import Inputs
from harness.synthesis import filters, manifest
from harness.synthesis.integrate import (
    FocusWindow,
    as_polygons,
    draw_window,
    focus,
    match_colour,
    paste,
    resize,
    shows_all,
    whole,
    without_specks,
)
from harness.synthesis.items import Item, LoadedFrame, items_of, load
from harness.synthesis.manifest import ManifestEntry
from harness.synthesis.quality import objection
from harness.synthesis.recipe import Recipe
from harness.synthesis.sheet import write_sheet

VERSION = 2

_WINDOWS = 200
"""Draws after which no window is expected that shows enough of every instance; the released scripts go on for ever."""

log = logging.getLogger(__name__)


class SynthesisSpec(Specification):
    """This holds what decides the result of a synthesis, beside the frames it starts from."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = {
        "generator": GeneratorPart.NOT_IN_KEY,
        "recipe": {"filters": {"clip": {"weights", "tokenizer"}, "segmenter": {"weights"}}},
        "weights": True,
    }
    """What is printed, and where files lie; what the files hold is in the fingerprint of the filters."""

    generator: GeneratorPart
    recipe: Recipe
    seed: int = Field(default=0, ge=0)
    split: str = "train"
    top_k: int = Field(default=3, ge=1)
    """Instances per frame, largest first."""
    variants: int = Field(default=2, ge=1)
    """Images per instance."""
    limit: int | None = Field(default=None, ge=1)
    """Only the first so many frames of the split, in the order of their names."""
    frames: bool = False
    """Whether the full-frame composites are kept too."""
    weights: str = ""
    """The fingerprint of the generator when the key was made of it; empty: none was."""


class Position(NamedTuple):
    """This says where the work list goes on: a frame, and how many of its items are done."""

    frame: int
    items: int


class _Painted(NamedTuple):
    image: np.ndarray
    judgement: filters.Judgement


@dataclass(frozen=True, kw_only=True)
class _Work:
    spec: SynthesisSpec
    dataset: Dataset
    todo: list[Frame]
    out: Path
    stock: Stock | None = None

    @cached_property
    def tree(self) -> Tree:
        """Return where the training images go."""
        return Tree.create(self.out, self.dataset.labels)

    @cached_property
    def composites(self) -> Tree:
        """Return where the full-frame composites go."""
        return Tree.create(self.out / "frames", self.dataset.labels)


def run(spec: SynthesisSpec, inputs: Inputs, out: Path, report: Report) -> dict[str, Any]:
    """Synthesise from the data set `inputs["dataset"]` into `out`, going on where an earlier call stopped.

    Facts: frames read, instances selected, images made, skipped and filtered, reasons, images per class. HarnessError
    for a data set that can't be read, an `out` that lies in it or holds something else, a generator that breaks its
    contract, and when not one image could be made.
    """
    dataset = inputs["dataset"]
    refuse_inside(out, dataset.root)
    spec.recipe.check(dataset.labels)
    spec.generator.check_unchanged(spec.weights)
    frames, stock = dataset.frames(spec.split), spec.generator.stock
    if stock:
        stock.check(dataset, {frame.name for frame in frames}, spec.split)
    work = _Work(spec=spec, dataset=dataset, todo=list(frames[: spec.limit]), out=out, stock=stock)
    claim = _claim(work)
    if not _is_claimed(out, claim):
        write_bytes(out / "synthesis.json", claim)
    if not (out / manifest.NAME).exists():
        _finish(out, spec, _make_all(work, report))
    shutil.rmtree(out / "batches", ignore_errors=True)
    entries = manifest.read_manifest(out)
    if wrong := _damaged(out, entries):
        raise HarnessError(f"{wrong}: damaged or gone since it was made", hint=f"remove {out}, and it is made again")
    report(len(work.todo), len(work.todo), "done")
    return _facts(entries, len(work.todo))


def _make_all(work: _Work, report: Report) -> list[ManifestEntry]:
    """Every entry of the work list, in its order: from the records of finished batches, then batch by batch."""
    entries, position, number = _finished(work.out)
    if position.frame >= len(work.todo):
        return entries
    device = "cuda" if gpus() else "cpu"
    generator = work.spec.generator.build(device)
    judge = filters.ImageFilters(work.spec.recipe.filters, device=device)
    running: deque[tuple[Position, list[Future[ManifestEntry]]]] = deque()

    def complete_oldest() -> None:
        nonlocal number
        reached, futures = running.popleft()
        batch = [future.result() for future in futures]
        record = {"frame": reached.frame, "items": reached.items, "entries": [e.model_dump(mode="json") for e in batch]}
        write_bytes(_record(work.out, number), json.dumps(record).encode())
        entries.extend(batch)
        number += 1
        made = sum(entry.status == "made" for entry in entries)
        report(reached.frame, len(work.todo), f"{made} images")

    report(position.frame, len(work.todo), "")
    # Painting (one thread, the accelerator) overlaps with pasting, resizing and PNG writing of the batch before it.
    with ThreadPoolExecutor(max_workers=min(8, cores())) as pool:
        for batch, reached in _batches(work, position):
            painted = _judged(judge, batch, _paint(generator, work, batch))
            futures = [pool.submit(_make, work, item, image) for item, image in zip(batch, painted, strict=True)]
            running.append((reached, futures))
            if len(running) > 1:
                complete_oldest()
        while running:
            complete_oldest()
    return entries


def _batches(work: _Work, start: Position) -> Iterator[tuple[list[Item], Position]]:
    """The work list from `start`, cut after every `batch_size` items that can be painted; with where it is cut."""
    spec, batch, paintable = work.spec, [], 0
    for index in range(start.frame, len(work.todo)):
        picture = load(work.todo[index])
        listed = items_of(
            picture,
            work.dataset.labels,
            recipe=spec.recipe,
            seed=spec.seed,
            top_k=spec.top_k,
            variants=spec.variants,
            ready=work.stock.files.get(picture.frame.name, {}) if work.stock else None,
        )
        for number, item in enumerate(listed):
            if (index, number) < start:
                continue
            batch.append(item)
            paintable += not item.fault
            if paintable == spec.generator.batch_size:
                yield batch, Position(index, number + 1)
                batch, paintable = [], 0
    yield batch, Position(len(work.todo), 0)


def _paint(generator: Generator[Any], work: _Work, batch: list[Item]) -> list[np.ndarray]:
    """Return what the generator makes of each item that has no fault."""
    good = [item for item in batch if not item.fault]
    if not good:
        return []
    images = generator.edit_placed(
        [item.real for item in good],
        [item.mask for item in good],
        _prompts(good),
        [item.seed for item in good],
        [
            Place(
                dataset=work.dataset,
                frame=item.picture.frame,
                instance=item.instance.id,
                label=item.instance.label,
                square=item.square,
                variant=item.variant,
            )
            for item in good
        ],
    )
    return checked(images, len(good), work.spec.generator.label)


def _prompts(good: list[Item]) -> list[Prompt]:
    """Return the prompts of items without a fault, which all have one."""
    return [item.prompt for item in good if item.prompt is not None]


def _judged(judge: filters.ImageFilters, batch: list[Item], images: list[np.ndarray]) -> list[_Painted | None]:
    """Return the images with what the filters say of them, for every item of the batch; None for those that have a
    fault.
    """
    good = [item for item in batch if not item.fault]
    judgements = judge([i.real for i in good], images, [i.mask for i in good], _prompts(good))
    left = iter(zip(images, judgements, strict=True))
    return [None if item.fault else _Painted(*next(left)) for item in batch]


def _make(work: _Work, item: Item, painted: _Painted | None) -> ManifestEntry:
    """Paste, focus and write one item; its manifest entry."""
    if painted is None:
        return _entry(item, status="skipped", reason=item.fault)
    spec, recipe, labels = work.spec, work.spec.recipe, work.dataset.labels
    known = {"judgement": painted.judgement.values, **_write_crops(work.out, item, painted.image)}
    crop = resize(painted.image, item.mask.shape, recipe.paste_filter)
    if reason := objection(recipe.quality, item.real, crop, item.mask) or painted.judgement.reason:
        return _entry(item, status="filtered", reason=reason, **known)
    landing = _landing(work, item)
    if isinstance(landing, str):
        return _entry(item, status="skipped", reason=landing, **known)
    target, identity = landing
    crop = match_colour(crop, item.real, item.mask, recipe.colour)
    image = paste(target.image, item.square, crop, item.mask)
    ids = target.ids if target is item.picture else paste(target.ids, item.square, identity, item.mask)
    city = item.picture.frame.city
    if spec.frames:
        kept = work.composites.write_frame(spec.split, city, item.name, image, ids)
        known["composite"] = str(kept.image.relative_to(work.out))
    window = _window(work, item, ids)
    if window is None:
        reason = f"in {_WINDOWS} windows some instance showed fewer than {recipe.least_visible} pixels"
        return _entry(item, status="skipped", reason=reason, **known)
    image, ids = focus(image, ids, window.box, recipe.focus_filter)
    ids = without_specks(ids, labels, recipe.least_vertices)
    written = work.tree.write_frame(spec.split, city, item.name, image, ids)
    if recipe.annotation == "polygons":
        png.write(written.outline_ids, as_polygons(ids, labels).astype(np.uint16))
    return _entry(
        item,
        status="made",
        target=target.frame.name,
        target_id=identity,
        window=tuple(window.box),
        zoom=window.zoom or None,
        file=str(written.image.relative_to(work.out)),
        labels=str(written.instance_ids.relative_to(work.out)),
        **known,
    )


def _landing(work: _Work, item: Item) -> tuple[LoadedFrame, int] | str:
    """The picture the result is pasted into and the instance's id there; or why there is none."""
    if work.spec.generator.placement == "in_place":
        return item.picture, item.instance.id
    others = [frame for frame in work.todo if frame.name != item.picture.frame.name]
    if not others:
        return "no other frame to paste into"
    chosen = others[derive(work.spec.seed, "target", *item.key) % len(others)]
    target = load(chosen)
    if target.ids.shape != item.picture.ids.shape:
        return "the frame to paste into has another size"
    used = set(np.unique(target.ids).tolist())
    free = (identity for identity in work.dataset.labels.instances_of(item.instance.label) if identity not in used)
    identity = next(free, None)
    return (target, identity) if identity is not None else "no free instance id in the frame to paste into"


def _window(work: _Work, item: Item, ids: np.ndarray) -> FocusWindow | None:
    """Return the window of one item in the composite's ids; None when none was found that the recipe accepts."""
    spec, recipe, size = work.spec, work.spec.recipe, item.picture.ids.shape
    if spec.generator.window == "frame":
        return whole(size)
    generator = np.random.default_rng(derive(spec.seed, "window", *item.key))
    for _ in range(_WINDOWS):
        window = draw_window(
            item.instance.box,
            size,
            mean=recipe.zoom_mean,
            std=recipe.zoom_std,
            rounding=recipe.zoom_rounding,
            sides=recipe.side_rounding,
            generator=generator,
        )
        if shows_all(ids, work.dataset.labels, window.box, recipe.least_visible):
            return window
    return None


def _write_crops(out: Path, item: Item, painted: np.ndarray) -> dict[str, str]:
    """Write the squares of one item; the real one and the mask once for all variants. Returns their relative paths."""
    frame = item.picture.frame
    stem = f"{frame.city}/{frame.name}_{item.instance.id}"
    files = {
        "real": f"crops/real/{stem}.png",
        "mask": f"crops/mask/{stem}.png",
        "generated": f"crops/generated/{stem}_{item.variant}.png",
    }
    if item.variant == 0:
        png.write(out / files["real"], item.real)
        png.write(out / files["mask"], item.mask.astype(np.uint8) * 255)
    png.write(out / files["generated"], painted)
    return files


def _entry(item: Item, **rest: Any) -> ManifestEntry:
    frame, instance = item.picture.frame, item.instance
    return ManifestEntry(
        name=item.name,
        source=frame.name,
        city=frame.city,
        instance=instance.id,
        variant=item.variant,
        class_name=instance.label.name,
        label_id=instance.label.id,
        area=instance.area,
        box=instance.box,
        square=item.square,
        prompt=item.prompt.text if item.prompt else "",
        phrase=item.prompt.phrase if item.prompt else "",
        seed=item.seed,
        **rest,
    )


def _record(out: Path, number: int) -> Path:
    return out / "batches" / f"{number:06d}.json"


def _finished(out: Path) -> tuple[list[ManifestEntry], Position, int]:
    """Return the entries of the recorded batches, where the work list goes on, and the number of the next batch.

    A record that is damaged, or of which a file is, is set aside: the work goes on with its batch.
    """
    entries: list[ManifestEntry] = []
    position, number = Position(0, 0), 0
    while (path := _record(out, number)).exists():
        try:
            record = parse_json(path.read_text(encoding="utf-8"))
            found = [ManifestEntry.model_validate_json(json.dumps(entry)) for entry in record["entries"]]
            reached = Position(int(record["frame"]), int(record["items"]))
            wrong = _damaged(out, found)
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            wrong = path
        if wrong:
            log.warning("%s is damaged or gone: the work goes on with batch %d", wrong, number)
            path.replace(path.with_suffix(".damaged"))
            break
        entries += found
        position, number = reached, number + 1
    return entries, position, number


def _damaged(out: Path, entries: list[ManifestEntry]) -> Path | None:
    """Return the first file of `entries` that is not whole."""
    files = (out / name for entry in entries for name in entry.files)
    return next((path for path in files if not png.is_whole(path)), None)


def _finish(out: Path, spec: SynthesisSpec, entries: list[ManifestEntry]) -> None:
    """Write what is made of the whole: the sheet, then the manifest, whose existence means that all is there."""
    reasons = Counter(entry.reason for entry in entries if entry.reason)
    if not any(entry.status == "made" for entry in entries):
        why = ", ".join(f"{count} x {reason}" for reason, count in sorted(reasons.items()))
        raise HarnessError(f"not one image could be synthesised: {why or 'no frame has an instance to work on'}")
    for reason, count in sorted(reasons.items()):
        log.warning("%d images were not made: %s", count, reason)
    write_sheet(out, entries, title=f"{spec.generator.label}, recipe {spec.recipe.label}, seed {spec.seed}")
    write_bytes(out / manifest.NAME, manifest.render(entries).encode())


def _facts(entries: list[ManifestEntry], read: int) -> dict[str, Any]:
    made = [entry for entry in entries if entry.status == "made"]
    return {
        "frames": read,
        "instances": len({(entry.source, entry.instance) for entry in entries}),
        "images": len(made),
        "skipped": sum(entry.status == "skipped" for entry in entries),
        "filtered": sum(entry.status == "filtered" for entry in entries),
        "reasons": dict(sorted(Counter(entry.reason for entry in entries if entry.reason).items())),
        "classes": dict(sorted(Counter(entry.class_name for entry in made).items())),
    }


def _claim(work: _Work) -> bytes:
    """Return what `synthesis.json` says: the specification and what identifies frames and weights."""
    digest = hashlib.blake2b(digest_size=32)
    for frame in work.todo:
        digest.update(f"{frame.city}/{frame.name}\n".encode())
        for path in (frame.image, frame.instance_ids):
            hash_into(digest, path)
    content: dict[str, Any] = {
        "version": VERSION,
        "spec": work.spec.decisive(),
        "frames": digest.hexdigest(),
        "filters": filters.fingerprint(work.spec.recipe.filters),
    }
    if labels := labels_key(work.dataset.labels):
        content["labels"] = labels
    if weights := work.spec.generator.fingerprint:
        content["weights"] = weights
    return json.dumps(content, indent=1, sort_keys=True).encode()


def _is_claimed(out: Path, claim: bytes) -> bool:
    """Return whether `out` holds this very synthesis, begun or whole; HarnessError when it holds anything else."""
    path = out / "synthesis.json"
    if path.is_file() and path.read_bytes() == claim:
        return True
    if path.is_file():
        raise HarnessError(f"{out}: holds another synthesis: see {path}", hint="choose another output folder")
    if holds_something(out):
        raise HarnessError(f"{out}: exists and is no synthesis", hint="choose an output folder that is empty or new")
    return False


def holds_something(out: Path) -> bool:
    """Return whether `out` is anything but absent or an empty folder (what an interrupted first write left does not
    count)."""
    if out.is_dir():
        return any(path.name != ".synthesis.json.part" for path in out.iterdir())
    return out.exists()


def refuse_inside(out: Path, root: Path) -> None:
    """Raise HarnessError when `out` lies in the source tree `root`."""
    if out.resolve().is_relative_to(root.resolve()):
        raise HarnessError(
            f"{out}: lies in the source tree {root}, which is never written to", hint="choose another folder"
        )
