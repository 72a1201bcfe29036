"""The list of contents holds size and hash of each file of an artifact; the manifest holds the hash of the list.

The files have reached the disk before the list is written, and the list before the manifest.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from harness.core.config import parse_json
from harness.core.errors import HarnessError
from harness.core.files import replace, sync, write_through

CONTENTS = "contents.json"
MANIFEST = "manifest.json"
SEAL = "seal"
"""The key of a manifest whose value is the hash of all others."""
_FIRST_SEALED = 3
"""The first version of manifests that have one."""
_BLOCK = 2**20


def seal(folder: Path) -> dict[str, Any]:
    """Write the list of all files below `folder`; return what the manifest records of it: files, bytes, hash of the
    list.
    """
    found: dict[str, tuple[int, str]] = {}
    for name in _files(folder):
        with open(folder / name, "rb") as handle:
            found[name] = _digest(handle)
    text = json.dumps({"version": 1, "files": found}, indent=0, sort_keys=True) + "\n"
    replace(folder / CONTENTS, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    sync(folder, [*found, CONTENTS])
    return {
        "files": len(found),
        "bytes": sum(size for size, _ in found.values()),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def problems(folder: Path, sealed: dict[str, Any] | None, *, additions: bool = True) -> list[str]:
    """Return the differences between `folder` and the record `sealed` that `seal` gave of it; empty when there are
    none.

    Every byte is read. `additions`: whether files that were not there then are differences.
    """
    listed, wrong = _listed(folder, sealed)
    if wrong:
        return [wrong]
    found = []
    there = set(_files(folder))
    for name, (size, digest) in listed.items():
        if name not in there:
            found.append(f"{name}: missing")
            continue
        try:
            with open(folder / name, "rb") as handle:
                read = _digest(handle)
        except OSError as error:
            found.append(f"{name}: not readable: {error.strerror or error}")
            continue
        if read[0] != size:
            found.append(f"{name}: {read[0]} bytes, expected {size}")
        elif read[1] != digest:
            found.append(f"{name}: changed")
    return found + [f"{name}: not in the list" for name in sorted(there - listed.keys()) if additions]


def close(folder: Path, kind: str) -> None:
    """Write list and manifest of a finished folder outside of a store, so that `damage` knows it."""
    manifest = vouched_for({"version": _FIRST_SEALED, "kind": kind, "contents": seal(folder)})
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    replace(folder / MANIFEST, lambda temporary: write_through(temporary, text))


def damage(folder: Path, *, additions: bool = True) -> str:
    """Return the first thing that is wrong with a finished artifact; empty when it is whole, or no artifact at all.

    Every byte is read. Artifacts of versions that kept no list of contents are believed.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, RecursionError) as error:
        return f"{MANIFEST}: not readable: {error}"
    if not isinstance(manifest, dict) or not is_vouched_for(manifest):
        return f"{MANIFEST}: changed"
    if "contents" not in manifest:
        return ""
    return next(iter(problems(folder, manifest["contents"], additions=additions)), "")


class DamagedError(HarnessError):
    """A finished artifact is not as it was made; `folder` is where it stands."""

    def __init__(self, folder: Path, wrong: str) -> None:
        hint = "move what is damaged out of the way with `harness store verify --set-aside`, and run again"
        super().__init__(f"{folder}: {wrong}", hint=hint)
        self.folder = folder


def refuse_damaged(folder: Path) -> None:
    """Raise DamagedError when a finished artifact is not as it was made."""
    if wrong := damage(folder):
        raise DamagedError(folder, wrong)


def vouched_for(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest with a hash of all else that it says."""
    return {**manifest, SEAL: _seal_of(manifest)}


def is_vouched_for(manifest: dict[str, Any]) -> bool:
    """Return whether a manifest is as it was written; those of versions that kept no hash are believed."""
    if SEAL not in manifest and manifest.get("version", 0) < _FIRST_SEALED:
        return True
    return manifest.get(SEAL) == _seal_of(manifest)


def _seal_of(manifest: dict[str, Any]) -> str:
    said = {name: value for name, value in manifest.items() if name != SEAL}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _listed(folder: Path, sealed: dict[str, Any] | None) -> tuple[dict[str, tuple[int, str]], str]:
    """Return the list of `folder`, or what is wrong with it."""
    if not isinstance(sealed, dict):
        return {}, "the manifest says nothing of the contents"
    try:
        text = (folder / CONTENTS).read_bytes()
        if hashlib.sha256(text).hexdigest() != sealed.get("sha256"):
            return {}, f"{CONTENTS}: not the list that the manifest vouches for"
        return {name: (size, digest) for name, (size, digest) in parse_json(text)["files"].items()}, ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return {}, f"{CONTENTS}: not readable: {error}"


def _files(folder: Path) -> list[str]:
    """Return all files below `folder` but the manifest and the list, relative, sorted."""
    found = []
    for root, _, names in os.walk(folder):
        relative = os.path.relpath(root, folder)
        found += [name if relative == "." else f"{relative}/{name}" for name in names]
    return sorted(name for name in found if name not in (CONTENTS, MANIFEST))


def _digest(handle: Any) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while block := handle.read(_BLOCK):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()
