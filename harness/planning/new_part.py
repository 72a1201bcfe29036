"""This module makes a part of what lies in a folder: a generator of images or crops, or a segmenter of predictions. It
guesses what the names mean, and checks everything before it writes configs/<kind>/<name>.toml in the current folder."""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.core.files import write_text
from harness.core.paths import data_root
from harness.core.progress import Report
from harness.data.base import DATASETS, Dataset, DatasetPart, open_dataset
from harness.data.patterns import expression, files_below, source_of
from harness.generators.base import GeneratorPart, Stock
from harness.planning.suite import folders, load_dataset_part, load_profile, names
from harness.segmenters.base import SegmenterPart
from harness.segmenters.predictions.adapter import located, theirs
from harness.segmenters.predictions.options import Model

PICTURES = (".png", ".jpg", ".jpeg")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_IDS, _POLYGONS = "instanceIds.png", "polygons.json"
_OTHERS = ("labelIds.png", "labelTrainIds.png", "instanceTrainIds.png", "color.png", "panoptic.png")
"""Ends of files of Cityscapes that annotate and are not read here."""


class NewPart(NamedTuple):
    """A part that was written: where, and what it gives."""

    path: Path
    options: dict[str, Any]
    stock: Stock


def new_generator(
    folder: Path,
    name: str,
    *,
    dataset: Dataset,
    options: dict[str, Any],
    label: str = "",
    window: str = "",
    replace: bool = False,
) -> NewPart:
    """Write the part `name` of the files in `folder`. `options`: patterns and labels as far as the user says them, else
    they are guessed from the names. `window`: of crops, what becomes a training image.

    HarnessError, and no file, for a name that is taken or can't be one, files that can't be used, and frames that
    `dataset` has not.
    """
    path = _new_path("generators", name, replace)
    given = {key: value for key, value in options.items() if value}
    known = dataset.names("train")
    if not given:
        given = guess(folder, known, dataset.labels.divisor)
    part: dict[str, Any] = {"label": label or name, "adapter": "folder"}
    if window:
        part["window"] = window
    content = {**part, "options": {"folder": str(folder.absolute()), **given}}
    parsed = parse(GeneratorPart, content, f"the part of {folder}")
    stock = parsed.stock
    assert stock is not None, "a folder has a stock"
    if known is not None:
        stock.check(dataset, known, "train")
    content["options"]["count"] = sum(len(files) for one in stock.files.values() for files in one.values())
    write_text(path, f"# {stock.text}; `harness import-images` made this file.\n{_toml(content)}")
    return NewPart(path, content["options"], stock)


def dataset_of(profile: str, root: Path | None) -> Dataset:
    """The data set of a profile, at its place where it lies on disk; HarnessError when that place is not said."""
    part = load_dataset_part(load_profile(profile).dataset, profile)
    found = DATASETS.load(part.adapter).found
    place = data_root(str(root) if root else None) if found else None
    if found and place is None:
        raise HarnessError(
            f"profile {profile!r} is about {part.label}, and no data root is given",
            hint="pass --data-root DIR or set CITYSCAPES_DATASET",
        )
    return open_dataset(part, place)


def draw_dataset(profile: str, folder: Path, report: Report) -> DatasetPart:
    """Draw the data set of a profile into a folder, going on where an earlier call stopped; return its part.

    HarnessError for a data set that lies on disk, and a folder that holds anything else.
    """
    part = load_dataset_part(load_profile(profile).dataset, profile)
    if DATASETS.load(part.adapter).found:
        raise HarnessError(f"{part.label} is found on disk and not made", hint="its frames are where you have put them")
    path, claim = folder / "dataset.json", json.dumps(part.decisive(), indent=1, sort_keys=True) + "\n"
    if not (path.is_file() and path.read_text(encoding="utf-8") == claim):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = f"another data set: see {path}" if path.is_file() else "something else"
            raise HarnessError(f"{folder}: holds {what}", hint="choose an output folder that is empty or new")
        write_text(path, claim)
    open_dataset(part, folder).make(report)
    return part


class NewPredictions(NamedTuple):
    """A part that was written: where, and its runs, by generator, backbone and seed."""

    path: Path
    runs: dict[tuple[str, str, int], Path]


def new_segmenter(
    folder: str,
    name: str,
    *,
    dataset: Dataset,
    model: dict[str, Any],
    label: str = "",
    backbones: Sequence[str] = (),
    replace: bool = False,
) -> NewPredictions:
    """Write the part `name` of the predictions in `folder`, in which {generator} and {backbone} may stand. `model`:
    other keys of the table; `backbones`: as printed.

    HarnessError, and no file, for a name that is taken or can't be one, where a frame of val has no prediction, and for
    files that are malformed. Whether pixels fit the frames is seen when they are read.
    """
    from harness.metrics.prediction_views import locate
    from harness.stages.predictions import Theirs

    path = _new_path("segmenters", name, replace)
    given = {key: value for key, value in model.items() if value}
    printed = {re.sub(r"[^a-z0-9]+", "_", one.lower()).strip("_") or "own": {"label": one} for one in backbones}
    content = {
        "label": label or name,
        "adapter": "predictions",
        "backbones": printed or {"own": {"label": "own"}},
        "model": {"folder": str(Path(folder).expanduser().absolute()), **given},
    }
    part = parse(SegmenterPart, content, f"the part of {folder}")
    assert isinstance(part.model, Model), "the model of predictions"
    runs = {
        (generator, backbone, seed): run
        for backbone in part.backbones
        for generator in part.on(names("generators"), backbone)
        for seed, run in (part.runs(generator, backbone) or {}).items()
    }
    if not runs:
        raise HarnessError(f"{folder}: no such folder for any generator", hint=f"of {', '.join(names('generators'))}")
    meaning, known = Theirs(dataset.labels.name, theirs(part.model, dataset.labels)), dataset.names("val")
    for run in runs.values() if known is not None else ():
        for kind, source in located(part.model, run).items():
            locate(kind, source, "val", known or (), dataset.labels, meaning)
    write_text(path, f"# {len(runs)} runs; `harness import-predictions` made this file.\n{_toml(content)}")
    return NewPredictions(path, runs)


def _new_path(kind: str, name: str, replace: bool) -> Path:
    """Return where the part goes; HarnessError when it can't be called so."""
    if not _NAME.fullmatch(name):
        raise HarnessError(f"--name {name!r}: expected a name of small letters, digits and underscores")
    path = folders(kind)[0] / f"{name}.toml"
    if name in names(kind) and not (replace and path.is_file()):
        raise HarnessError(
            f"{path}: there is a {kind.removesuffix('s')} of this name", hint="choose another --name, or add --replace"
        )
    return path


def guess(folder: Path, known: Collection[str] | None, divisor: int) -> dict[str, str]:
    """Return the options that fit every picture of a folder; HarnessError when none do.

    `known`: names of frames, where they are known; ids of instances are `divisor` or more.
    """
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no such folder")
    every = files_below(folder)
    if any(re.fullmatch(r"leftImg8bit/train/[^/]+/[^/]+_leftImg8bit\.png", file) for file in every):
        return {}
    pictures = [file for file in every if file.lower().endswith(PICTURES) and not file.endswith((_IDS, *_OTHERS))]
    if not pictures:
        raise HarnessError(f"{folder}: no picture in it", hint=f"expected files that end with {', '.join(PICTURES)}")
    ends = {Path(file).suffix for file in pictures}
    if len(ends) > 1:
        raise HarnessError(
            f"{folder}: pictures of several kinds: {', '.join(sorted(ends))}", hint="say which with --images or --crops"
        )
    (end,) = ends
    for pattern in (f"**/{{source}}{joint}{{instance}}{rest}{end}" for joint in "_-" for rest in ("_{variant}", "")):
        if _fits(pattern, pictures, known, divisor):
            return {"crops": pattern}
    for middle in _middles(pictures[0], known):
        if _fits(pattern := f"**/{{source}}{middle}{end}", pictures, known, divisor):
            return {"images": pattern, **_annotation(every, pictures, middle)}
    example = f"such as {pictures[0]}"
    about = f"; a frame of the train split is called as {min(known)}" if known else ""
    raise HarnessError(
        f"{folder}: the names of its {len(pictures)} pictures, {example}, don't say which frames they are of{about}",
        hint='say it with --images "{source}_{variant}.png" or --crops "{source}_{instance}_{variant}.png"',
    )


def _middles(example: str, known: Collection[str] | None) -> Iterator[str]:
    """Return what may stand between the name of the frame and the end of the file: nothing, a variant, or words of
    theirs."""
    stem = Path(example).stem
    hit = expression("{source}*").fullmatch(stem)
    words = stem[len(hit["source"]) :] if hit else ""
    yield from dict.fromkeys(("", words, *(f"{joint}{{variant}}" for joint in "_-")))
    if (number := re.fullmatch(r"(.*?[_-]?)\d+", words)) is not None:
        yield f"{number[1]}{{variant}}"


def _fits(pattern: str, files: Sequence[str], known: Collection[str] | None, divisor: int) -> bool:
    wanted = expression(pattern)
    for file in files:
        hit = wanted.fullmatch(file)
        if hit is None or (known is not None and source_of(hit.groupdict()) not in known):
            return False
        if "instance" in hit.groupdict() and int(hit["instance"]) < divisor:
            return False
    return True


def _annotation(every: Sequence[str], pictures: Sequence[str], middle: str) -> dict[str, str]:
    """Return which files annotate the pictures: those of Cityscapes' names where there are any, else those of the
    sources."""
    for kind, end in (("ids", _IDS), ("polygons", _POLYGONS)):
        if found := [file for file in every if file.endswith(end)]:
            words = middle.replace("_leftImg8bit", "")
            for joint in ("_gtFine_", "_"):
                pattern = f"**/{{source}}{words}{joint}{end}"
                if sum(expression(pattern).fullmatch(file) is not None for file in found) >= len(pictures):
                    return {"labels": kind, "label_files": pattern}
            raise HarnessError(
                f"{found[0]}: annotates something, and its name doesn't say which picture",
                hint="say it with --images, --labels and --label-files",
            )
    return {"labels": "source"}


def _toml(table: dict[str, Any], above: str = "") -> str:
    """Return a table of texts and numbers, and of such tables, as TOML."""
    lines = [
        f"{_key(key)} = {json.dumps(value, ensure_ascii=False)}\n"
        for key, value in table.items()
        if not isinstance(value, dict)
    ]
    for key, value in table.items():
        if isinstance(value, dict):
            path = f"{above}{_key(key)}"
            lines.append(f"\n[{path}]\n{_toml(value, f'{path}.')}")
    return "".join(lines)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
