"""This module converts a checkpoint of DeepLab2 to a folder that predicts, and that a backbone's `checkpoint` or
`weights` can name."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.data.labels import LabelSet
from harness.segmenters import checkpoint
from harness.segmenters.base import SegmenterPart
from harness.segmenters.deeplab2.variables import Variable, sources
from harness.weights import tensors
from harness.weights.tensor_bundle import Bundle

BACKBONE = "backbone."
_NOT_WEIGHTS = ("global_step", "save_counter", "optimizer/", "backbone_optimizer/")


def convert(prefix: Path, part: SegmenterPart, backbone: str, labels: LabelSet, output: Path) -> dict[str, Any]:
    """Write the weights of the checkpoint `prefix` as those of `part` on the backbone called so; facts about them.

    A checkpoint of a classifier has the backbone alone: the folder then holds its tensors, for `weights`. HarnessError
    when variables are missing, are not expected or have other shapes, or `output` is not empty: nothing is then
    written.
    """
    tensors.need_new(output)
    bundle = Bundle(prefix)
    chosen = part.chosen(backbone).model_copy(update={"weights": None, "checkpoint": None})
    network = part.kind.build(chosen, part.model, labels)
    wanted = sources(network)
    whole = any(not name.startswith(("encoder/", *_NOT_WEIGHTS)) for name in bundle.entries)
    if not whole:
        wanted = {name: source for name, source in wanted.items() if name.startswith(BACKBONE)}
    found = _values(bundle, wanted, network.state_dict(), whole=whole)
    output.mkdir(parents=True, exist_ok=True)
    facts = {"converted from": bundle.prefix.name, "tensors": len(found), "parameters": _size(found)}
    if whole:
        checkpoint.save(output, network, found, part, backbone, facts)
    else:
        tensors.save(output / checkpoint.WEIGHTS, {n.removeprefix(BACKBONE): value for n, value in found.items()})
    return facts | {"what": "whole model" if whole else "backbone"}


def _values(
    bundle: Bundle, wanted: dict[str, Variable], ours: dict[str, torch.Tensor], *, whole: bool
) -> dict[str, torch.Tensor]:
    """Our tensors by name, with counts of batches; HarnessError with the first variables that do not fit."""
    used = {source.name for source in wanted.values()}
    problems = [f"{name}: missing" for name in sorted(used - set(bundle.entries))]
    problems += [
        f"{name}: not expected"
        for name in bundle.entries
        if name not in used and not name.startswith(_NOT_WEIGHTS) and (whole or name.startswith("encoder/"))
    ]
    found: dict[str, torch.Tensor] = {}
    for name, source in wanted.items():
        if source.name not in bundle.entries:
            continue
        expected = tuple(ours[name].shape)
        try:
            value = source.layout(bundle.read(source.name))
        except (IndexError, ValueError):
            value = bundle.read(source.name)
        if value.shape != expected:
            problems.append(f"{source.name}: expected shape {expected}, found {value.shape}")
        else:
            found[name] = torch.from_numpy(np.array(value, np.float32, order="C"))
    if problems:
        hint = "model and the backbone's config of the part must be those of the checkpoint"
        raise tensors.other_architecture(str(bundle.path), problems, hint=hint)
    prefix = "" if whole else BACKBONE
    counts = {n: v for n, v in ours.items() if n.endswith("num_batches_tracked") and n.startswith(prefix)}
    return found | counts


def _size(found: dict[str, torch.Tensor]) -> int:
    """Trainable numbers: running statistics and counts left out."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return sum(value.numel() for name, value in found.items() if not name.endswith(statistics))
