"""This adapter scores predictions that were made elsewhere: it trains nothing, and what lies in a folder becomes a row.

The adapter that the registry names finds the runs; the stage `predictions` reads them. A run is a folder of predictions
in the formats that `harness evaluate` reads; runs of several seeds lie in folders of their own.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError
from harness.data.labels import Label, LabelSet
from harness.segmenters.base import SegmenterAdapter
from harness.segmenters.options import Backbone
from harness.segmenters.predictions import options

if TYPE_CHECKING:
    from harness.segmenters.network import Network

_SEED = re.compile(r"(?:seed[-_]?)?(\d+)")
BASELINE = "none"
"""The generator of real frames alone."""
KINDS = ("instances", "semantic", "panoptic")


class Predictions(SegmenterAdapter[options.Model]):
    """This adapter reads predictions that were made elsewhere, and trains nothing."""

    Model = options.Model
    Training = options.Stated

    @classmethod
    def runs(cls, model: options.Model, generator: str, backbone: str) -> Mapping[int, Path]:
        """The folder of each seed's run; HarnessError where there is none."""
        folder = run_folder(model, generator, backbone)
        if not folder.is_dir():
            raise HarnessError(f"{folder}: no such folder of predictions")
        seeds: dict[int, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.is_dir() and (name := _SEED.fullmatch(path.name)):
                if int(name[1]) in seeds:
                    raise HarnessError(f"{path}: {seeds[int(name[1])]} is of the same seed")
                seeds[int(name[1])] = path
        found = dict(sorted(seeds.items())) or {0: folder}
        for run in found.values():
            located(model, run)
        return found

    @classmethod
    def on(cls, model: options.Model, generators: Iterable[str], backbone: str) -> list[str]:
        """Return the generators whose folder is there; real frames alone where the folder is the same for all."""
        if "{generator}" not in model.folder:
            return [BASELINE]
        return [one for one in generators if run_folder(model, one, backbone).is_dir()]

    @classmethod
    def build(
        cls, backbone: Backbone, model: options.Model, labels: LabelSet, *, shape: dict[str, Any] | None = None
    ) -> "Network[Any, Any]":
        """Raise HarnessError: there is no network."""
        raise HarnessError("predictions made elsewhere have no network: nothing is trained, and no image is answered")


def run_folder(model: options.Model, generator: str, backbone: str) -> Path:
    """Return where the runs on the frames of a generator lie."""
    text = model.folder.replace("{generator}", generator).replace("{backbone}", backbone)
    if strange := re.search(r"\{.*?\}", text):
        raise HarnessError(f"predictions in {model.folder!r}: {strange[0]} is neither {{generator}} nor {{backbone}}")
    return Path(text).expanduser().absolute()


def located(model: options.Model, run: Path) -> dict[str, Path]:
    """Return what a run holds, by kind of prediction: a folder or JSON each; HarnessError when there is nothing, or a
    part that the options name is missing."""
    found: dict[str, Path] = {}
    for kind in KINDS:
        if named := getattr(model, kind):
            if not (path := run / named).exists():
                raise HarnessError(f"{path}: no such folder or file of predictions ({kind})")
            found[kind] = path
        elif (path := run / kind).is_dir():
            found[kind] = path
    jsons = sorted(run.glob("*.json"))
    if not found and len(jsons) == 1:
        found["instances"] = jsons[0]
    elif not found and any(run.glob("*.txt")):
        found["instances"] = run
    if not found:
        raise HarnessError(
            f"{run}: no predictions in it",
            hint="expected instances/, semantic/ or panoptic/, <frame>.txt with masks, or one COCO result JSON",
        )
    return found


def theirs(model: options.Model, labels: LabelSet) -> Mapping[int, Label]:
    """Their ids to our labels; HarnessError for an id that is no number and a name of no label."""
    if not model.categories:
        return labels.by_id
    found = {}
    for id_, name in model.categories.items():
        if not id_.isdigit() or name not in labels.by_name:
            raise HarnessError(
                f"categories: {id_!r} = {name!r}: expected an id and a label of {labels.name}",
                hint=f"labels are {', '.join(label.name for label in labels.evaluated)}",
            )
        found[int(id_)] = labels.by_name[name]
    return found
