"""The stage assess measures how good the generated crops of a synthesis are, pair by pair and as a set.

Reads the square crops before the paste, as the manifest pairs them, and writes

    scores.json   every score with its count, error and signature; headline scores under the names of the paper's table
    pairs.npz     the scores of each pair, for bootstraps: who it is, and one column per recipe, region and metric

Work is cut into parts that are kept until the end, so that a run that was killed goes on. Not here: what a recipe does
to a pair (metrics/image.py), what a pair scores (metrics/pairs.py), distances between sets (metrics/frechet.py).
"""

import hashlib
import io
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
from pydantic import Field, field_validator

from harness import __version__
from harness.core.config import Specification, read_json
from harness.core.environment import gpus
from harness.core.errors import HarnessError
from harness.core.files import write_bytes
from harness.core.progress import Report
from harness.data.png import read_image, read_mask
from harness.metrics.frame_statistics import read_arrays
from harness.quality import weight_files
from harness.quality.frechet import frechet_distance, jackknife_error, kernel_distance
from harness.quality.measurement import (
    CORRECTED,
    FILL,
    RELEASED,
    ClipSpec,
    FeatureSpec,
    LocalWeights,
    LpipsSpec,
    Measurement,
    Region,
    signature,
)
from harness.quality.pairs import Columns, Networks, RawPair, load_networks, score, unavailable
from harness.quality.structural import WINDOW
from harness.stages import Inputs
from harness.synthesis.manifest import NAME as MANIFEST
from harness.synthesis.manifest import ManifestEntry, read_manifest

VERSION = 2

QualityMetric = Literal["CLIP-I", "CLIP-T", "FID", "KID", "SSIM", "PSNR", "LPIPS"]

SCORES, PAIRS = "scores.json", "pairs.npz"

_HEADLINES = {"CLIP-I": "CLIPScore", "CLIP-T": "CLIPScore_text"}  # names in the paper's table that are not ours
_NETWORKS = {"clip": {"CLIP-I", "CLIP-T"}, "features": {"FID", "KID"}, "lpips": {"LPIPS"}}
_COLUMNS = {"CLIP-I": "clip_i", "CLIP-T": "clip_t", "SSIM": "ssim", "PSNR": "psnr", "LPIPS": "lpips"}
_PART = 32  # instances whose images are in memory at a time


class AssessSpec(Specification):
    """This holds what decides the scores of a synthesis. The first recipe's scores of the whole crop are the
    headline."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = {
        "batch_size": True,
        "clip": {"weights", "tokenizer", "optional"},
        "features": {"weights", "optional"},
        "lpips": {"weights", "optional"},
    }
    """Where files lie and how many images a network takes at a time; what the files hold is in `fingerprint`."""

    metrics: tuple[QualityMetric, ...] = Field(
        default=("CLIP-I", "CLIP-T", "FID", "KID", "SSIM", "PSNR", "LPIPS"), min_length=1
    )
    recipes: tuple[Measurement, ...] = Field(default=(RELEASED, CORRECTED), min_length=1)
    clip: ClipSpec = ClipSpec()
    features: FeatureSpec = FeatureSpec()
    lpips: LpipsSpec = LpipsSpec()
    batch_size: int = Field(default=32, ge=1)
    """Images that a network takes at a time."""

    @field_validator("recipes")
    @classmethod
    def _named_apart(cls, recipes: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
        names = [recipe.name for recipe in recipes]
        if len(set(names)) < len(names):
            raise ValueError(f"expected recipes of different names, found {', '.join(names)}")
        return recipes

    @property
    def networks(self) -> dict[str, LocalWeights]:
        """The networks that the metrics need, by key."""
        return {name: getattr(self, name) for name, metrics in _NETWORKS.items() if metrics & set(self.metrics)}


class Score(NamedTuple):
    """One number of scores.json. `value` None: undefined, and `note` says why."""

    metric: str
    recipe: str
    region: Region
    value: float | None
    error: float | None
    """Standard error, from leaving out one frame at a time; None for FID, whose bias is larger."""
    n: int
    """Pairs (generated crops, for FID and KID) that went into the value."""
    n_identical: int
    """Pairs without a differing pixel in this region; they have no finite PSNR and are not in its mean."""
    n_empty: int
    """Pairs left out because the region is empty or holds no window."""
    signature: str
    note: str = ""


def fingerprint(spec: AssessSpec) -> str:
    """Return what identifies the weights that the scores come from; a file that is not there counts as absent."""
    return weight_files.fingerprint(list(spec.networks.values()))


def run(spec: AssessSpec, inputs: Inputs, out: Path, report: Report) -> dict[str, Any]:
    """Score the synthesis `inputs["synthesis"]` into `out`, going on where an earlier call stopped.

    Facts: pairs, instances, pairs without change, headline scores, networks that are not available and why.
    HarnessError for a synthesis without pairs, a crop that can't be read or is not square, and weights that are
    not there.
    """
    folder = inputs["synthesis"]
    entries = [entry for entry in read_manifest(folder) if entry.status == "made" and entry.pair and entry.mask]
    if not entries:
        raise HarnessError(f"{folder}: no generated crop to assess")
    claim = _claim(spec, folder)
    if not _is_whole(out, claim):
        table = _measure(spec, folder, entries, out / f"parts-{claim[:16]}", report)
        _write_arrays(out / PAIRS, _pair_columns(entries, table))
        scores = {"made_of": claim, **_summary(spec, entries, table)}
        write_bytes(out / SCORES, (json.dumps(scores, indent=1, allow_nan=False) + "\n").encode())
    for leftover in sorted(out.glob("parts-*")):
        shutil.rmtree(leftover)
    scores = read_json(out / SCORES, "file of scores")
    return {name: scores[name] for name in ("counts", "headline", "unavailable")}


def _claim(spec: AssessSpec, folder: Path) -> str:
    """Return a hash of all that the scores are made of."""
    digest = hashlib.sha256((folder / MANIFEST).read_bytes())
    digest.update(spec.model_dump_json(exclude=spec.NOT_IN_KEY).encode())
    digest.update(f"{fingerprint(spec)} {VERSION}".encode())
    return digest.hexdigest()


def _is_whole(out: Path, claim: str) -> bool:
    path = out / SCORES
    if not path.is_file():
        return False
    found = read_json(path, "file of scores", hint=f"remove {path}, and run again")
    return isinstance(found, dict) and found.get("made_of") == claim


def _measure(
    spec: AssessSpec, folder: Path, entries: list[ManifestEntry], parts: Path, report: Report
) -> dict[str, np.ndarray]:
    """Return the columns of all pairs as `<recipe>.<region>.<column>`: from finished parts, and by making the
    others."""
    groups = _groups(entries)
    starts = range(0, len(groups), _PART)
    paths = [parts / f"{number:06d}.npz" for number in range(len(starts))]
    networks: Networks | None = None
    for start, path in zip(starts, paths, strict=True):
        if not path.exists():
            networks = networks or load_networks(
                spec.networks, device="cuda" if gpus() else "cpu", batch_size=spec.batch_size
            )
            _write_arrays(path, _measure_part(spec, folder, groups[start : start + _PART], start, networks))
        report(min(start + _PART, len(groups)), len(groups), "instances")
    columns: dict[str, list[np.ndarray]] = defaultdict(list)
    for path in paths:
        for name, column in read_arrays(path, "scores of pairs", hint=f"remove {path}, and run again").items():
            columns[name].append(column)
    return {name: np.concatenate(values) for name, values in columns.items()}


def _groups(entries: list[ManifestEntry]) -> list[list[tuple[int, ManifestEntry]]]:
    """Return the variants of each instance, with their index among all entries, in the order of the manifest."""
    grouped: dict[tuple[str, int], list[tuple[int, ManifestEntry]]] = defaultdict(list)
    for index, entry in enumerate(entries):
        grouped[entry.source, entry.instance].append((index, entry))
    return list(grouped.values())


def _measure_part(
    spec: AssessSpec, folder: Path, groups: list[list[tuple[int, ManifestEntry]]], start: int, networks: Networks
) -> dict[str, np.ndarray]:
    rows = list(_rows(folder, groups, start))
    firsts = {group[0][0] for group in groups if group[0][1].variant == 0}
    columns: dict[str, np.ndarray] = {}
    for recipe in spec.recipes:
        chosen = rows if recipe.variants == "all" else [row for row in rows if row.pair in firsts]
        for region, found in score(chosen, recipe, networks).items():
            columns |= {f"{recipe.name}.{region}.{name}": values for name, values in found.items()}
        columns[f"{recipe.name}.pair"] = np.array([row.pair for row in chosen], np.int64)
    return columns


def _rows(folder: Path, groups: list[list[tuple[int, ManifestEntry]]], start: int) -> Iterator[RawPair]:
    """Yield the pairs of some instances with their images; HarnessError for a file that is missing, broken or not
    square.
    """
    for number, group in enumerate(groups, start):
        first = group[0][1].crops
        real, mask = read_image(folder / first.real), read_mask(folder / first.mask) > 127
        if real.shape[:2] != mask.shape:
            raise HarnessError(f"{folder / first.mask}: {mask.shape} pixels, and its crop has {real.shape[:2]}")
        for index, entry in group:
            file = entry.crops.generated
            generated = read_image(folder / file)
            for path, image in ((first.real, real), (file, generated)):
                if image.shape[0] != image.shape[1]:
                    raise HarnessError(f"{folder / path}: expected a square crop, found {image.shape[:2]} pixels")
            yield RawPair(index, number, entry.prompt, real, generated, mask)


def _pair_columns(entries: list[ManifestEntry], table: Columns) -> dict[str, np.ndarray]:
    """Return what pairs.npz holds: names and clusters of all pairs; per recipe and region `pair` and the scores of
    those pairs."""
    named = {
        "name": np.array([entry.name for entry in entries]),
        "source": np.array([entry.source for entry in entries]),
        "class_name": np.array([entry.class_name for entry in entries]),
        "variant": np.array([entry.variant for entry in entries]),
    }
    wanted = ("pair", "identical", "psnr", "ssim", "clip_i", "clip_t", "clip_t_real", "lpips")
    return named | {
        name: values for name, values in table.items() if name.count(".") == 2 and name.rpartition(".")[2] in wanted
    }


def _summary(spec: AssessSpec, entries: list[ManifestEntry], table: Columns) -> dict[str, Any]:
    """Return the content of scores.json: flat scores for tables, `scores` in full, classes, counts."""
    missing = unavailable(spec.networks)
    scores = [
        found
        for recipe in spec.recipes
        for region in recipe.regions
        for metric in spec.metrics
        if (found := _score(spec, metric, recipe, region, entries, table)) is not None
    ]
    head = [found for found in scores if (found.recipe, found.region) == (spec.recipes[0].name, "whole")]
    headline = {_HEADLINES.get(found.metric, found.metric): found for found in head}
    flat = {f"{found.metric}.{found.recipe}.{found.region}": found.value for found in scores}
    identical = table.get(f"{spec.recipes[0].name}.whole.identical", np.zeros(0, bool))
    return {
        # What isn't measured is null: a table then prints a dash, and no other network's FID stands under that name.
        **{name: None for metric in spec.metrics for name in _names(metric, spec.recipes)},
        **{name: found.value for name, found in headline.items()},
        **flat,
        "signature": {name: found.signature for name, found in headline.items()},
        "headline": {name: found.value for name, found in headline.items()},
        "scores": [found._asdict() for found in scores],
        "classes": _classes(spec, entries, table),
        "n_images": len(table[f"{spec.recipes[0].name}.pair"]),
        "counts": {"pairs": len(entries), "instances": len(_groups(entries)), "identical": int(identical.sum())},
        "unavailable": missing,
        "weights": {n: weight_files.locate(s).sha256 for n, s in spec.networks.items() if n not in missing},
    }


def _names(metric: QualityMetric, recipes: tuple[Measurement, ...]) -> Iterator[str]:
    """All names that a metric may have in scores.json."""
    others = [name for name in get_args(FeatureSpec.model_fields["network"].annotation) if name != "inception"]
    for label in (metric, *(f"{metric} ({name})" for name in others if metric in ("FID", "KID"))):
        yield _HEADLINES.get(label, label)
        yield from (f"{label}.{recipe.name}.{region}" for recipe in recipes for region in recipe.regions)


def _score(
    spec: AssessSpec,
    metric: QualityMetric,
    recipe: Measurement,
    region: Region,
    entries: list[ManifestEntry],
    table: Columns,
) -> Score | None:
    """Return the score of a metric in one region; None where it isn't measured (no network, no sense)."""
    prefix = f"{recipe.name}.{region}"
    of_set = metric in ("FID", "KID")
    column = f"{prefix}.{'generated_features' if of_set else _COLUMNS[metric]}"
    if column not in table:
        return None
    pair = table[f"{prefix}.pair"]
    counts = {
        "n_identical": int(table[f"{prefix}.identical"].sum()),
        "n_empty": len(table[f"{recipe.name}.pair"]) - len(pair),
    }
    facts = {**_how(spec, metric, recipe, region), "version": __version__}
    if of_set:
        label = metric if spec.features.network == "inception" else f"{metric} ({spec.features.network})"
        value, error, note, sizes = _set_distance(metric, prefix, entries, table)
        made_by = signature(label, recipe, region, {**facts, **sizes})
        return Score(label, recipe.name, region, value, error, sizes["n"], **counts, signature=made_by, note=note)
    values = table[column]
    finite = np.isfinite(values)
    counts["n_empty"] += int(np.isnan(values).sum())
    value, error = _mean(values[finite], [entries[index].source for index in pair[finite]])
    n = int(finite.sum())
    note = "" if n else "all pairs are identical" if counts["n_identical"] else "no pair has this region"
    made_by = signature(metric, recipe, region, {**facts, "n": n})
    return Score(metric, recipe.name, region, value, error, n, **counts, signature=made_by, note=note)


def _how(spec: AssessSpec, metric: QualityMetric, recipe: Measurement, region: Region) -> dict[str, object]:
    """Return what a signature says of a metric beside recipe, region and counts."""
    pixels = {
        "SSIM": {"image": "grey", "window": f"{WINDOW} uniform", "range": 255},
        "PSNR": {"image": "rgb", "range": 255, "mean": "of dB per pair"},
    }
    if metric in pixels:
        return pixels[metric]
    fill = None if region == "whole" else FILL
    if metric in ("FID", "KID"):
        network = spec.features
        if network.network == "inception":
            seen = {"network": f"inception/{network.preprocess}", "input": 299}
        else:
            seen = {"network": network.network, "input": f"{network.side} bicubic"}
        seen["weights"] = _tag(network)
        estimate = {"estimate": "one block, unbiased"} if metric == "KID" else {}
        return {**seen, **estimate, "fill": fill}
    if metric == "LPIPS":
        return {"network": "alexnet/0.1", "weights": _tag(spec.lpips)}
    return {"model": spec.clip.model, "weights": _tag(spec.clip), "input": recipe.clip_squash, "fill": fill}


def _tag(spec: LocalWeights) -> str:
    return weight_files.locate(spec).tag


def _set_distance(
    metric: QualityMetric, prefix: str, entries: list[ManifestEntry], table: Columns
) -> tuple[float | None, float | None, str, dict[str, int]]:
    """Value, error, note and set sizes of FID or KID in one region."""
    real, generated = table[f"{prefix}.real_features"], table[f"{prefix}.generated_features"]
    sizes = {"n_real": len(real), "n": len(generated)}
    if min(sizes.values()) < 2:
        return None, None, "fewer than two crops", sizes
    if metric == "FID":
        return frechet_distance(real, generated), None, "", sizes
    sources = [entry.source for entry in entries]
    by_instance = [sources[group[0][0]] for group in _groups(entries)]
    clusters = {name: number for number, name in enumerate(sorted(set(sources)))}
    distance = kernel_distance(
        real,
        generated,
        real_clusters=np.array([clusters[by_instance[i]] for i in table[f"{prefix}.real_instance"]]),
        generated_clusters=np.array([clusters[sources[i]] for i in table[f"{prefix}.pair"]]),
    )
    return distance.value, distance.error, "", sizes


def _mean(values: np.ndarray, clusters: list[str]) -> tuple[float | None, float | None]:
    """Mean and its standard error when whole clusters are left out; None where there is nothing to take one of."""
    if not len(values):
        return None, None
    _, index = np.unique(clusters, return_inverse=True)
    sums, counts = np.bincount(index, values), np.bincount(index)
    if len(sums) < 3:
        return float(values.mean()), None
    return float(values.mean()), jackknife_error((values.sum() - sums) / (len(values) - counts))


def _classes(spec: AssessSpec, entries: list[ManifestEntry], table: Columns) -> dict[str, dict[str, float | None]]:
    """Headline means per class, with the number of pairs as "instances"."""
    prefix = f"{spec.recipes[0].name}.whole"
    if f"{prefix}.pair" not in table:
        return {}
    names = np.array([entries[index].class_name for index in table[f"{prefix}.pair"]])
    classes: dict[str, dict[str, float | None]] = {}
    for name in sorted(set(names)):
        classes[name] = {"instances": int((names == name).sum())}
        for metric in spec.metrics:
            column = table.get(f"{prefix}.{_COLUMNS.get(metric)}")
            if column is not None:
                values = column[names == name]
                mean, _ = _mean(values[np.isfinite(values)], [name] * int(np.isfinite(values).sum()))
                classes[name][_HEADLINES.get(metric, metric)] = mean
    return classes


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]  # its stub takes every name for allow_pickle
    write_bytes(path, buffer.getvalue())
