"""A trained segmenter on disk is model.safetensors and config.json, enough to predict without the part it was trained
from."""

import json
import logging
from collections.abc import Collection
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from pydantic import SerializeAsAny, ValidationInfo, model_validator
from torch import Tensor

from harness.core import files
from harness.core.config import Strict, parse, parse_json, parse_table, read_json
from harness.core.errors import HarnessError
from harness.data.base import IMPLIED
from harness.data.labels import LabelSet
from harness.segmenters.base import SEGMENTERS, SegmenterPart
from harness.segmenters.network import Network
from harness.segmenters.options import Backbone
from harness.weights import integrity, tensors

WEIGHTS, CONFIG = "model.safetensors", "config.json"
STATE = "state.pt"
"""Where a training that is not finished goes on from."""
DAMAGED = f"{STATE}.damaged"
"""A state that could not be read, until the training is whole."""
MEMORY = "memory.json"
"""How many images a device takes at a time, once its memory has run out, until the training is whole."""

log = logging.getLogger(__name__)


class Trained(Strict):
    """This holds the config.json of a finished training."""

    format: Literal[1] = 1
    adapter: str
    backbone: Backbone
    model: SerializeAsAny[Strict]
    """The model options of the adapter."""
    labels: LabelSet = IMPLIED
    """What the network was trained for; trainings from before it was recorded say nothing."""
    shape: dict[str, Any]
    """What the adapter builds the network from again."""
    facts: dict[str, Any]
    """What the stage said of the training."""

    @model_validator(mode="before")
    @classmethod
    def _parsed(cls, config: Any, info: ValidationInfo) -> Any:
        if not isinstance(config, dict) or "adapter" not in config:
            return config
        tables: dict[str, type[Strict]] = {"model": SEGMENTERS.load(config["adapter"]).Model}
        tables |= {"labels": LabelSet} if "labels" in config else {}
        return config | {table: parse_table(model, config, table, info) for table, model in tables.items()}

    def build(self) -> Network[Any, Any]:
        """Return the network, its weights still to be filled in."""
        return SEGMENTERS.load(self.adapter).build(self.backbone, self.model, self.labels, shape=self.shape)


def save(
    folder: Path,
    network: Network[Any, Any],
    weights: dict[str, Tensor],
    part: SegmenterPart,
    backbone: str,
    facts: dict[str, Any],
) -> None:
    """Write weights, then config, each whole or absent; the state to go on from is then removed."""
    tensors.save(folder / WEIGHTS, weights)
    trained = Trained(
        adapter=part.adapter,
        backbone=part.chosen(backbone),
        model=part.model,
        labels=network.labels,
        shape=json.loads(json.dumps(network.shape, default=str)),
        facts=facts,
    )
    text = json.dumps(trained.model_dump(mode="json"), indent=1, sort_keys=True)
    files.write_bytes(folder / CONFIG, f"{text}\n".encode())
    for name in (STATE, DAMAGED, MEMORY):
        (folder / name).unlink(missing_ok=True)


def read_state(path: Path, names: Collection[str], *, set_aside: bool) -> dict[str, Any] | None:
    """Return the state of an unfinished training, a table of `names`; None where there is none.

    A damaged one is logged and, with `set_aside`, renamed.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if set(state) != set(names):
            raise ValueError("it holds something else")
    except (OSError, RuntimeError, UnpicklingError, EOFError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is damaged (%s): set aside as %s", path, type(error).__name__, DAMAGED)
        log.warning("the training begins anew: no other state of it is kept")
        if set_aside:
            path.replace(path.with_name(DAMAGED))
        return None
    return dict(state)


def halved(folder: Path, images: int) -> None:
    """Keep that a device takes so many images at a time from now on."""
    files.write_text(folder / MEMORY, json.dumps({"images_at_a_time": images}) + "\n")


def images_at_a_time(folder: Path) -> int | None:
    """Return what `halved` has kept in the folder of an unfinished training; None where memory has not run out."""
    try:
        found = parse_json((folder / MEMORY).read_text(encoding="utf-8"))["images_at_a_time"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) and found > 0 else None


def is_trained(folder: Path) -> bool:
    """Return whether `folder` holds a finished training, of whatever version; its config.json may still be refused."""
    try:
        found = parse_json((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "adapter" in found


def finished(folder: Path) -> bool:
    """Return whether the training in `folder` is whole: a config, and weights of which nothing is cut off."""
    if not (folder / CONFIG).is_file():
        return False
    if integrity.is_whole(folder / WEIGHTS):
        return True
    log.warning("%s is damaged or gone: the training is done again", folder / WEIGHTS)
    return False


def read(folder: Path) -> Trained:
    """Return the config of a finished training; HarnessError when there is none, or it can't be read."""
    path = folder / CONFIG
    if not path.exists():
        raise HarnessError(f"{folder}: no trained segmenter: {CONFIG} is missing")
    return parse(Trained, read_json(path, "configuration of a trained segmenter"), path)


def load(folder: Path) -> Network[Any, Any]:
    """Return the trained network, in evaluation mode, on the CPU; HarnessError when there is none or its weights don't
    fit.
    """
    network = read(folder).build()
    tensors.fill(network, folder / WEIGHTS)
    return network.eval()
