"""The index lists the artifacts of a store in one file, so that 100,000 artifacts are listed without 100,000 manifests.

The file is a memory and no more: it is compared with the folders whenever it is read, and made anew where it is
missing or damaged. Nothing but listings depends on it.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness.core.config import parse_json
from harness.core.errors import HarnessError
from harness.core.files import write_text
from harness.core.store import Store

NAME = "index.jsonl"
VERSION = 1


class IndexEntry(NamedTuple):
    """An entry describes one artifact; `inode` distinguishes the folder from a later one of the same name."""

    kind: str
    key: str
    inode: int
    label: str
    files: int
    bytes: int
    started: str
    seconds: float
    host: str
    commit: str
    harness: str
    stage: int
    identity: str
    """The key without the versions of harness and stage: what was asked for, whoever made it."""
    inputs: tuple[str, ...]
    """<kind>-<key> of each artifact that it was made from."""


def index(store: Store) -> list[IndexEntry]:
    """Return all artifacts of the store, by kind and key; damaged ones are left out, `verify` reports them."""
    known = _read(store)
    found, changed = [], False
    for kind, key, inode in sorted(_folders(store)):
        entry = known.pop((kind, key), None)
        if entry is None or entry.inode != inode:
            changed = True
            with contextlib.suppress(HarnessError):
                found.append(_entry(kind, key, inode, store.manifest(kind, key)))
        else:
            found.append(entry)
    if changed or known:
        _write(store, found)
    return found


def rebuild(store: Store) -> list[IndexEntry]:
    """Return all artifacts of the store, read from the manifests alone."""
    (store.root / NAME).unlink(missing_ok=True)
    return index(store)


def _folders(store: Store) -> Iterator[tuple[str, str, int]]:
    root = store.root / "artifacts"
    for kind in store.names("artifacts"):
        with contextlib.suppress(NotADirectoryError), os.scandir(root / kind) as entries:
            yield from ((kind, entry.name, entry.inode()) for entry in entries)


def _entry(kind: str, key: str, inode: int, manifest: dict[str, Any]) -> IndexEntry:
    def table(name: str) -> dict[str, Any]:
        found = manifest.get(name)
        return found if isinstance(found, dict) else {}

    contents, code, environment = table("contents"), table("code"), table("environment")
    inputs = (f"{i.get('kind')}-{i.get('key')}" for i in table("inputs").values() if isinstance(i, dict))
    return IndexEntry(
        kind=kind,
        key=key,
        inode=inode,
        label=str(manifest.get("label", "")),
        files=contents.get("files", 0),
        bytes=contents.get("bytes", 0),
        started=str(manifest.get("started", "")),
        seconds=table("facts").get("wall_s", 0.0),
        host=str(table("job").get("host", "")),
        commit=str(environment.get("commit", ""))[:12],
        harness=str(code.get("harness", "")),
        stage=code.get("stage", 0),
        identity=str(manifest.get("identity", "")),
        inputs=tuple(sorted(inputs)),
    )


def _read(store: Store) -> dict[tuple[str, str], IndexEntry]:
    try:
        lines = (store.root / NAME).read_text(encoding="utf-8").splitlines()
        if not lines or parse_json(lines[0]) != VERSION:
            return {}
        rows = (parse_json(line) for line in lines[1:])
        return {(row[0], row[1]): IndexEntry._make([*row[:-1], tuple(row[-1])]) for row in rows}
    except (OSError, ValueError, TypeError, IndexError):
        return {}


def _write(store: Store, entries: list[IndexEntry]) -> None:
    """Keep the index; a store that cannot be written is listed all the same."""
    lines = [str(VERSION), *(json.dumps(entry) for entry in entries)]
    with contextlib.suppress(HarnessError):
        write_text(Path(store.root, NAME), "\n".join(lines) + "\n")
