"""This module checks a checkpoint's files before a library loads them: what is wrong is then said of the file,
and not as a library's advice about its hub or its options. Torch-free.
"""

import json
from pathlib import Path

from harness.core.config import parse_json
from harness.core.errors import HarnessError

_POINTER = b"version https://git-lfs.github.com/spec/"
_LONGEST = 100_000_000
"""Bytes of a safetensors head, at most; its length stands in the first eight bytes of the file."""
_OBJECTS = ("config.json", "tokenizer.json", "vocab.json", "model_index.json", ".index.json")
"""Ends of names of JSON files that hold an object in every checkpoint."""
_AGAIN = "fetch or make the file again"


def check_folder(folder: Path) -> None:
    """Raise HarnessError for the first damaged file of a folder, those below it included."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            check_file(path)


def check_file(path: Path) -> None:
    """Raise HarnessError for a Git LFS pointer, a configuration that is no object, a damaged safetensors file."""
    refuse_pointer(path)
    if path.name.endswith(_OBJECTS):
        try:
            found = parse_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise HarnessError(f"{path}: not readable as JSON: {error}", hint=_AGAIN) from None
        if not isinstance(found, dict):
            raise HarnessError(f"{path}: expected an object, found {type(found).__name__}", hint=_AGAIN)
    if path.suffix == ".safetensors" and not is_whole(path):
        raise HarnessError(f"{path}: a safetensors file that is damaged, or not whole", hint=_AGAIN)


def refuse_pointer(path: Path) -> None:
    """Raise HarnessError for the text that Git LFS leaves in the place of a file that was not fetched."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise HarnessError(
                f"{path}: a Git LFS pointer, not the file that it stands for", hint="run: git lfs pull, in its clone"
            )


def is_whole(path: Path) -> bool:
    """Return whether a safetensors file is there with as many bytes as its head says; the tensors are not read."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _LONGEST:
                return False
            head = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in head.items() if name != "__metadata__"]
        return bool(8 + length + max(ends, default=0) == path.stat().st_size)
    except (OSError, ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        return False
