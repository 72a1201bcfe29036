"""A trained segmenter on disk: model.safetensors and config.json, enough to predict without the part it was trained
from.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from harness.core import files
from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.core.registry import SEGMENTERS
from harness.segmenters.base import Backbone

FORMAT = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save(folder: Path, network: torch.nn.Module, weights: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    """Write weights, then config; each file is whole or absent."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
    replace(folder / WEIGHTS, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
    text = json.dumps({"format": FORMAT, **config, "shape": network.shape}, indent=1, sort_keys=True, default=str)
    replace(folder / CONFIG, lambda path: path.write_text(text + "\n", encoding="utf-8"))


def read_config(folder: Path) -> dict[str, Any] | None:
    """The config of a finished training; None when it isn't finished."""
    path = folder / CONFIG
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HarnessError(f"{path}: not readable: {error}") from None
    if config.get("format") != FORMAT:
        raise HarnessError(f"{path}: expected format {FORMAT}, found {config.get('format')!r}")
    return config


def load(folder: Path) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The trained network (in evaluation mode, on the CPU) and its config; HarnessError when none fits."""
    config = read_config(folder)
    if config is None:
        raise HarnessError(f"{folder}: no trained segmenter: {CONFIG} is missing")
    adapter = SEGMENTERS.load(config["adapter"])
    model = parse(adapter.Model, config["model"], f"{folder / CONFIG}, model")
    backbone = parse(Backbone, config["backbone"], f"{folder / CONFIG}, backbone")
    network = adapter.build(backbone, model, shape=config["shape"])
    load_weights(network, folder / WEIGHTS)
    return network.eval(), config


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Fill `network` from a safetensors file; HarnessError that names the first tensors that don't fit."""
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise HarnessError(f"{path}: not a readable safetensors file: {error}") from None
    wanted = network.state_dict()
    problems = [f"{name}: missing" for name in wanted if name not in found]
    problems += [f"{name}: not expected" for name in found if name not in wanted]
    problems += [
        f"{name}: expected shape {tuple(wanted[name].shape)}, found {tuple(value.shape)}"
        for name, value in found.items()
        if name in wanted and wanted[name].shape != value.shape
    ]
    if problems:
        raise other_architecture(str(path), problems)
    network.load_state_dict(found)


def other_architecture(source: str, problems: Sequence[str], *, hint: str = "") -> HarnessError:
    """The error for weights that don't fit, with the first of `problems`."""
    return HarnessError(
        f"{source}: the checkpoint is of another architecture ({len(problems)} tensors differ); first: "
        + "; ".join(problems[:3]),
        hint=hint,
    )


def need_disk(folder: Path, size: int, what: str) -> None:
    """HarnessError unless `size` bytes are free where `folder` (which exists) lies."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise HarnessError(
            f"{folder}: too little disk: {what} needs {size / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are free",
            hint="make room, or name a folder on another disk",
        )


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file under a temporary name and put it in place; HarnessError when the disk refuses."""

    def told(temporary: Path) -> None:
        try:
            write(temporary)
        except (SafetensorError, RuntimeError) as error:  # how safetensors and torch.save say that the disk is full
            raise OSError(f"{error} (is the disk full?)") from None

    files.replace(path, told)
