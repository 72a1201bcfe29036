"""This module scores pairs of real and generated crops in one region: columns, one value per pair.

What is a mean, what is a distance between sets, and what is written where: stages/assess.py.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.core.errors import HarnessError
from harness.quality import weight_files
from harness.quality.measurement import (
    Filter,
    LocalWeights,
    Measurement,
    Pair,
    Region,
    caption,
    region_of,
    resized,
    shown,
    sized,
)
from harness.quality.structural import structure

if TYPE_CHECKING:
    from harness.quality.clip import Clip
    from harness.quality.features import Features
    from harness.quality.lpips import Lpips

log = logging.getLogger(__name__)

Columns = dict[str, np.ndarray]
"""`pair` [k], then psnr, ssim, identical, clip_i, clip_t, clip_t_real, lpips, generated_features [k, d] of these pairs;
`real_instance` [m] and real_features [m, d]. Columns of a network are there when it is."""


class RawPair(NamedTuple):
    """A pair before a recipe touches it: uint8 [N, N, 3], uint8 [M, M, 3] and bool [N, N]."""

    pair: int
    instance: int
    prompt: str
    real: np.ndarray
    generated: np.ndarray
    mask: np.ndarray


@dataclass(kw_only=True)
class Networks:
    """The loaded networks; None for one that is not asked for or not there (`missing`: key to reason)."""

    clip: "Clip | None" = None
    features: "Features | None" = None
    lpips: "Lpips | None" = None
    missing: dict[str, str] = field(default_factory=dict)
    _texts: dict[str, np.ndarray] = field(default_factory=dict)

    def texts(self, prompts: Sequence[str]) -> np.ndarray:
        """CLIP's unit embeddings [n, d] of the captions of `prompts`, each computed once."""
        new = sorted(set(prompts) - self._texts.keys())
        if new:
            assert self.clip is not None, "captions are only scored where there is a CLIP"
            self._texts |= dict(zip(new, self.clip.texts([caption(prompt) for prompt in new]), strict=True))
        return np.stack([self._texts[prompt] for prompt in prompts])


def unavailable(specs: Mapping[str, LocalWeights]) -> dict[str, str]:
    """Return the optional networks whose weights are not there, with the reason; HarnessError for one that must be
    there.
    """
    missing = {}
    for name, spec in specs.items():
        try:
            weight_files.locate(spec)
        except HarnessError as error:
            if not spec.optional:
                raise
            missing[name] = error.message
    return missing


def load_networks(specs: Mapping[str, LocalWeights], *, device: str, batch_size: int) -> Networks:
    """Load what `specs` (keys clip, features, lpips) ask for and what is there."""
    from harness.quality.clip import Clip
    from harness.quality.features import Features
    from harness.quality.lpips import Lpips

    kinds = {"clip": Clip, "features": Features, "lpips": Lpips}
    missing = unavailable(specs)
    for name, reason in missing.items():
        log.warning("%s is not available: %s", name, reason)
    there = {name: spec for name, spec in specs.items() if name not in missing}
    loaded = {name: kinds[name](spec, device=device, batch_size=batch_size) for name, spec in there.items()}
    return Networks(**loaded, missing=missing)


def score(rows: Sequence[RawPair], recipe: Measurement, networks: Networks) -> dict[Region, Columns]:
    """Return the columns of `rows` in each region of `recipe`; a pair whose region is empty is left out of that
    region."""
    pairs = [sized(recipe, row.real, row.generated, row.mask) for row in rows]
    found: dict[Region, Columns] = {}
    for region in recipe.regions:
        inside = [region_of(pair.mask, region) for pair in pairs]
        kept = [i for i, mask in enumerate(inside) if mask is None or mask.any()]
        found[region] = _columns([rows[i] for i in kept], [pairs[i] for i in kept], recipe, region, networks)
    return found


def _columns(
    rows: list[RawPair], pairs: list[Pair], recipe: Measurement, region: Region, networks: Networks
) -> Columns:
    scored = [structure(pair.real, pair.generated, region_of(pair.mask, region)) for pair in pairs]
    columns: Columns = {
        "pair": np.array([row.pair for row in rows], np.int64),
        "psnr": np.array([s.psnr for s in scored]),
        "ssim": np.array([np.nan if s.ssim is None else s.ssim for s in scored]),
        "identical": np.array([s.identical for s in scored], bool),
    }
    if not rows:
        return columns
    views = _views(rows, pairs, recipe, region, "bicubic")
    seen = views if recipe.clip_squash == "bicubic" else _views(rows, pairs, recipe, region, recipe.clip_squash)
    columns |= _clip_columns(networks, seen, [row.prompt for row in rows], region)
    if networks.features:
        columns["real_instance"] = np.array(views.instances, np.int64)
        columns["real_features"] = networks.features(views.real)
        columns["generated_features"] = networks.features(views.generated)
    if networks.lpips and region == "whole":
        columns["lpips"] = networks.lpips([views.real[i] for i in views.of], views.generated)
    return columns


class _Views(NamedTuple):
    """This holds what networks see: the real crop of each instance once, all generated ones, and which real one each
    belongs to."""

    instances: list[int]
    real: list[np.ndarray]
    generated: list[np.ndarray]
    of: np.ndarray


def _views(rows: list[RawPair], pairs: list[Pair], recipe: Measurement, region: Region, how: Filter) -> _Views:
    # Variants share their real crop, and neither recipe lets its view depend on the generated one: it is seen once.
    first = {row.instance: index for index, row in reversed(list(enumerate(rows)))}
    instances = sorted(first)
    both = list(zip(rows, pairs, strict=True))

    def view(native: np.ndarray, at_size: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return shown(resized(native, recipe.squash, how) if recipe.squash else at_size, mask, region)

    return _Views(
        instances=instances,
        real=[view(row.real, pair.real, row.mask) for row, pair in (both[first[i]] for i in instances)],
        generated=[view(row.generated, pair.generated, row.mask) for row, pair in both],
        of=np.searchsorted(instances, [row.instance for row in rows]),
    )


def _clip_columns(networks: Networks, views: _Views, prompts: list[str], region: Region) -> Columns:
    from harness.quality.clip import clip_i, clip_t

    if not networks.clip:
        return {}
    one, two = networks.clip.images(views.real)[views.of], networks.clip.images(views.generated)
    columns = {"clip_i": clip_i(one, two)}
    if region != "outside":  # a prompt says nothing of the surroundings
        texts = networks.texts(prompts)
        columns |= {"clip_t": clip_t(two, texts), "clip_t_real": clip_t(one, texts)}
    return columns
