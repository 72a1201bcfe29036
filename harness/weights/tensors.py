"""This module writes and reads files of named tensors: written whole, read without running what they contain, compared
with what is wanted.

A .pth file of others is a pickle, and a pickle can run code. It is read with torch's restricted reader, which builds
tensors, containers and, because detectron2's files sometimes hold them, plain NumPy arrays and numbers; a file that
asks for anything else is refused. A .pkl of detectron2's model zoo may hold arrays and containers alone.
"""

import errno
import logging
import pickle
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.core import files
from harness.core.errors import HarnessError
from harness.weights.integrity import refuse_pointer

logger = logging.getLogger(__name__)

_LEAST = 2**20
"""Free bytes below which a disk that refused a file counts as full: libraries keep the reason to themselves."""

_DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
]


_ONLY: ContextVar[bool] = ContextVar("headers_only", default=False)


def reads_headers() -> bool:
    """Return whether readers are to look at headers only."""
    return _ONLY.get()


@contextmanager
def headers_only() -> Iterator[None]:
    """Let readers of weights look at headers only."""
    token = _ONLY.set(True)
    try:
        yield
    finally:
        _ONLY.reset(token)


def of_header(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file on the meta device; the library's error for a file that is broken or cut short."""
    if path.suffix != ".safetensors":
        return torch.load(path, map_location="meta", weights_only=True, mmap=True)
    with safe_open(path, framework="pt", device="cpu") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
        kinds = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
        return {
            name: torch.empty(part.get_shape(), dtype=kinds.get(part.get_dtype(), torch.int64), device="meta")
            for name, part in slices.items()
        }


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors, .pth or .pkl file (its "model" where there is one); HarnessError for
    others.
    """
    path = Path(path)
    if not path.is_file():
        raise HarnessError(f"{path}: no such checkpoint", hint="name a .pth or .safetensors file")
    refuse_pointer(path)
    try:
        if path.suffix == ".safetensors":
            return of_header(path) if reads_headers() else load_file(path)
        if path.suffix == ".pkl":
            with path.open("rb") as file:
                found = _Arrays(file, encoding="latin1").load()
            return _named(_model(found), path)
        with torch.serialization.safe_globals(_numpy_constructors()):
            if reads_headers():
                return _named(_model(of_header(path)), path)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        raise HarnessError(f"{path}: not a readable checkpoint: {why(error)}") from None
    except Exception as error:  # UnpicklingError and whatever a strange pickle raises
        raise HarnessError(
            f"{path}: not a checkpoint of plain tensors and arrays: {why(error)}",
            hint="what asks for more than arrays could run code, and is refused",
        ) from None
    return _named(_model(found), path)


def save(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all; HarnessError when the disk refuses."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
    replace(path, lambda temporary: save_file(tensors, temporary, metadata={"format": "pt"}))


def fill(network: nn.Module, path: Path) -> None:
    """Fill `network` from a safetensors file; HarnessError that names the first tensors that don't fit."""
    if path.is_file():
        refuse_pointer(path)
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


def fill_renamed(
    network: nn.Module,
    theirs: Mapping[str, Tensor],
    named: Callable[[str], str],
    *,
    source: str,
    unread: re.Pattern[str],
    anew: re.Pattern[str] | None = None,
    hint: str = "",
) -> list[str]:
    """Load a checkpoint of others into `network`; `named`: their name of one of our tensors.

    Tensors of either side that match `unread` are left out. Ours that match `anew` stay as they are where they have
    another number of rows (other classes); these are returned. HarnessError for any other difference.
    """
    ours = network.state_dict()
    wanted = {name: named(name) for name in ours if not unread.fullmatch(name)}
    known = set(wanted.values())
    problems = [f"{other}: missing" for other in wanted.values() if other not in theirs]
    problems += [f"{other}: not expected" for other in theirs if other not in known and not unread.fullmatch(other)]
    fitting, left = {}, []
    for name, other in wanted.items():
        if other not in theirs:
            continue
        expected, found = tuple(ours[name].shape), tuple(theirs[other].shape)
        if expected == found:
            fitting[name] = theirs[other]
        elif anew and anew.fullmatch(name) and expected[1:] == found[1:]:
            left.append(name)
        else:
            problems.append(f"{other}: expected shape {expected}, found {found}")
    if problems:
        raise other_architecture(source, problems, hint=hint)
    if left:
        logger.info("%s: other classes; these %d tensors start anew: %s", source, len(left), ", ".join(left))
    network.load_state_dict(fitting, strict=False)
    return left


def other_architecture(source: str, problems: Sequence[str], *, hint: str = "") -> HarnessError:
    """Return the error for weights that don't fit, with the first of `problems`."""
    return HarnessError(
        f"{source}: the checkpoint is of another architecture ({len(problems)} tensors differ); first: "
        + "; ".join(problems[:3]),
        hint=hint,
    )


def need_disk(folder: Path, size: int, what: str) -> None:
    """Raise HarnessError unless `size` bytes are free where `folder` (which exists) lies."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise HarnessError(
            f"{folder}: too little disk: {what} needs {size / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are free",
            hint="make room, or name a folder on another disk",
        )


def need_new(folder: Path) -> None:
    """Raise HarnessError when `folder` is there and holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HarnessError(f"{folder} is there already", hint="name a new folder, or remove it")


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file under a temporary name and put it in place; HarnessError when the disk refuses."""

    def told(temporary: Path) -> None:
        try:
            write(temporary)
        except (SafetensorError, RuntimeError) as error:  # how safetensors and torch.save say that the disk is full
            full = shutil.disk_usage(temporary.parent).free < _LEAST
            raise OSError(errno.ENOSPC if full else None, f"{error} (is the disk full?)") from None

    files.replace(path, told)


def why(error: Exception) -> str:
    """Return what a library says of a file, in one line and without its advice to run what the file holds."""
    lines = [line for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return "it holds more than tensors, or no checkpoint at all" if "weights_only" in str(error) else lines[0].strip()


class _Arrays(pickle.Unpickler):
    """Reads pickles of containers, plain NumPy arrays and numbers."""

    def find_class(self, module: str, name: str) -> Any:
        for entry in _numpy_constructors():
            found, known = entry if isinstance(entry, tuple) else (entry, f"{entry.__module__}.{entry.__name__}")
            if known == f"{module}.{name}":
                return found
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _model(found: Any) -> Any:
    """Return the tensors of a file, which training frameworks put under "model"."""
    return found.get("model", found) if isinstance(found, dict) else {}


def _named(found: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(found, dict) or not found:
        raise HarnessError(f"{path}: expected named tensors, or a dictionary with them under 'model'")
    tensors = {name: torch.as_tensor(v) if isinstance(v, np.ndarray | np.generic) else v for name, v in found.items()}
    strange = [str(name) for name, value in tensors.items() if not isinstance(value, Tensor)]
    if strange:
        raise HarnessError(
            f"{path}: expected named tensors, or a dictionary with them under 'model'; not a tensor: "
            + ", ".join(strange[:3])
        )
    return tensors


def _numpy_constructors() -> list[Any]:
    """Return what a pickled array or number of NumPy calls: constructors of data alone, under the names of NumPy 1 and
    2."""
    import _codecs

    from numpy._core import multiarray

    both = [
        (getattr(multiarray, name), f"numpy.{package}.multiarray.{name}")
        for name in ("_reconstruct", "scalar")
        for package in ("core", "_core")
    ]
    return [*both, np.ndarray, np.dtype, *(type(np.dtype(name)) for name in _DTYPES), _codecs.encode]
