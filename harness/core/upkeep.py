"""Upkeep keeps a store in order: it reads everything and reports damage, and finds what nothing needs any more."""

import json
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.core import contents
from harness.core.config import parse_json
from harness.core.errors import HarnessError
from harness.core.index import IndexEntry, index
from harness.core.store import Store


class Problem(NamedTuple):
    """A problem says what is wrong with an artifact."""

    kind: str
    key: str
    text: str


class Garbage(NamedTuple):
    """A record names a folder or file below the store that nothing needs, its bytes and the reason."""

    path: Path
    bytes: int
    why: str


def verify(store: Store) -> Iterator[tuple[str, str, list[Problem]]]:
    """Yield kind, key and problems of each artifact in turn; every byte is read."""
    for kind in sorted(store.names("artifacts")):
        for key in sorted(store.names(f"artifacts/{kind}")):
            yield kind, key, [Problem(kind, key, text) for text in check(store, kind, key)]


def check(store: Store, kind: str, key: str) -> list[str]:
    """Return the problems of one artifact; empty when it is whole."""
    folder = store.path(kind, key)
    if not store.has(kind, key):
        return ["it has no manifest"]
    try:
        manifest = store.manifest(kind, key)
    except HarnessError as error:
        return [error.message]
    return contents.problems(folder, manifest.get("contents"))


def garbage(store: Store, roots: Collection[str]) -> list[Garbage]:
    """Return what neither the artifacts whose keys are `roots`, nor their inputs, nor any worker needs.

    HarnessError while steps are at work: their inputs may be needed and unknown here.
    """
    if held := [key for kind, key in store.leased() if not store.is_gone(kind, key)]:
        raise HarnessError(
            f"{store.root}: {len(held)} steps are at work", hint="wait until they are done, or end their run"
        )
    entries = index(store)
    wanted = needed(entries, roots)
    found = [
        Garbage(store.path(entry.kind, entry.key), entry.bytes, f"no kept row needs {entry.kind} {entry.label}")
        for entry in entries
        if entry.key not in wanted
    ]
    there = {(entry.kind, entry.key) for entry in entries}
    for name in store.names("partial"):
        kind, _, key = name.partition("-")
        if (kind, key.partition(".")[0]) in there or key.partition(".")[0] not in roots:
            found.append(_folder(store.root / "partial" / name, "no kept row needs this unfinished step"))
    found += [_folder(store.root / "damaged" / name, "damaged") for name in store.names("damaged")]
    return found


def remove(found: Garbage, store: Store) -> None:
    """Remove a piece of garbage; an artifact is renamed first, so that nobody finds half of one."""
    trash = store.root / "damaged" / f"removed-{found.path.parent.name}-{found.path.name}"
    if found.path.parent != trash.parent:
        trash.parent.mkdir(exist_ok=True)
        shutil.rmtree(trash, ignore_errors=True)
        found.path.rename(trash)
    else:
        trash = found.path
    shutil.rmtree(trash, ignore_errors=True)


def needed(entries: list[IndexEntry], roots: Collection[str]) -> set[str]:
    """Return the keys of the roots and of everything they were made from."""
    inputs = {entry.key: [name.partition("-")[2] for name in entry.inputs] for entry in entries}
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting += inputs.get(key, [])
    return found


def _folder(path: Path, why: str) -> Garbage:
    return Garbage(path, sum(file.lstat().st_size for file in path.rglob("*") if file.is_file()), why)


class RecordedRun(NamedTuple):
    """A run that was asked for has a suite, a profile and the keys of all its steps."""

    suite: str
    profile: str
    keys: tuple[str, ...]


def remember(store: Store, name: str, run: RecordedRun) -> None:
    """Record that a run was asked for: its artifacts are kept until it is forgotten."""
    from harness.core.files import write_text

    write_text(store.root / "runs" / f"{name}.json", json.dumps({"version": 1, **run._asdict()}) + "\n")


def remembered(store: Store) -> dict[str, RecordedRun]:
    """Return the runs that were asked for, by name; HarnessError for a file that cannot be read."""
    found = {}
    for path in sorted((store.root / "runs").glob("*.json")):
        try:
            data = parse_json(path.read_text(encoding="utf-8"))
            found[path.stem] = RecordedRun(str(data["suite"]), str(data["profile"]), tuple(map(str, data["keys"])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HarnessError(f"{path}: not a readable run: {error}", hint=f"remove {path}, or run it again") from None
    return found
