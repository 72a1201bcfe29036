"""The list of contents holds size and hash of each file of an artifact; the manifest holds the hash of the list.

The files have reached the disk before the list is written, and the list before the manifest.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from harness.core.files import replace, sync

CONTENTS = "contents.json"
MANIFEST = "manifest.json"
_BLOCK = 2**20


def seal(folder: Path) -> dict[str, Any]:
    """Write the list of all files below `folder`; what the manifest says of it: files, bytes, hash of the list."""
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


def problems(folder: Path, sealed: dict[str, Any] | None) -> list[str]:
    """Where `folder` differs from what its manifest says it holds (`sealed`, as `seal` gave it); empty when whole.

    Every byte is read.
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
    return found + [f"{name}: not in the list" for name in sorted(there - listed.keys())]


def _listed(folder: Path, sealed: dict[str, Any] | None) -> tuple[dict[str, tuple[int, str]], str]:
    """The list of `folder`, or what is wrong with it."""
    if not isinstance(sealed, dict):
        return {}, "the manifest says nothing of the contents"
    try:
        text = (folder / CONTENTS).read_bytes()
        if hashlib.sha256(text).hexdigest() != sealed.get("sha256"):
            return {}, f"{CONTENTS}: not the list that the manifest vouches for"
        return {name: (size, digest) for name, (size, digest) in json.loads(text)["files"].items()}, ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return {}, f"{CONTENTS}: not readable: {error}"


def _files(folder: Path) -> list[str]:
    """All files below `folder` but the manifest and the list, relative, sorted."""
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
