"""An archive carries artifacts from one store to another: a tar file whose last member lists everything with sizes and
hashes.

What is imported is read and checked before it is put in place, under the same key; what is there already stays.
"""

import json
import os
import shutil
import tarfile
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.core import contents, upkeep
from harness.core.config import parse_json
from harness.core.errors import HarnessError
from harness.core.files import refused
from harness.core.store import Store

LIST = "index.json"
VERSION = 1


class Moved(NamedTuple):
    """A record names an artifact that was exported or imported; `new` says that it was not there before."""

    kind: str
    key: str
    new: bool


def export(store: Store, keys: Collection[tuple[str, str]], path: Path) -> Iterator[Moved]:
    """Write these artifacts to `path`, which appears when it is whole; HarnessError for one that is damaged."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(temporary, "w") as archive:
            for kind, key in sorted(keys):
                if wrong := upkeep.check(store, kind, key):
                    raise HarnessError(f"{store.path(kind, key)}: damaged: {wrong[0]}", hint="harness store verify")
                archive.add(store.path(kind, key), arcname=f"{kind}/{key}")
                yield Moved(kind, key, new=True)
            _add_list(archive, sorted(keys), temporary.with_suffix(".list"))
        os.replace(temporary, path)
    except OSError as error:
        raise refused(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def import_(store: Store, path: Path) -> Iterator[Moved]:
    """Put the artifacts of `path` into the store; HarnessError for a file that is incomplete or is no export."""
    store.open()
    folder = store.root / "partial" / f"import-{uuid.uuid4().hex}"
    try:
        with tarfile.open(path, "r") as archive:
            archive.extractall(folder, filter="data")
        for kind, key in _listed(folder, path):
            yield _adopt(store, folder / kind / key, kind, key, path)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise HarnessError(f"{path}: cannot be imported: {error}", hint="export it again") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _adopt(store: Store, folder: Path, kind: str, key: str, path: Path) -> Moved:
    """Check one artifact and put it in its place."""
    if store.has(kind, key):
        return Moved(kind, key, new=False)
    try:
        manifest = parse_json((folder / contents.MANIFEST).read_text(encoding="utf-8"))
        wrong = contents.problems(folder, manifest.get("contents"))
        if (manifest.get("kind"), manifest.get("key")) != (kind, key):
            wrong.append("its manifest is that of another artifact")
    except (OSError, ValueError, AttributeError) as error:
        wrong = [f"no readable manifest: {error}"]
    if wrong:
        raise HarnessError(f"{path}: {kind} {key} is damaged: {wrong[0]}", hint="export it again")
    final = store.path(kind, key)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        store.set_aside(kind, key)
    folder.rename(final)
    return Moved(kind, key, new=True)


def _add_list(archive: tarfile.TarFile, keys: list[tuple[str, str]], path: Path) -> None:
    """Write the list of artifacts as the last member: a file without it was cut off."""
    try:
        path.write_text(json.dumps({"version": VERSION, "artifacts": keys}), encoding="utf-8")
        archive.add(path, arcname=LIST)
    finally:
        path.unlink(missing_ok=True)


def _listed(folder: Path, path: Path) -> list[tuple[str, str]]:
    try:
        data = parse_json((folder / LIST).read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            raise ValueError(f"version {data['version']}, expected {VERSION}")
        keys = [(str(kind), str(key)) for kind, key in data["artifacts"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{path}: no export, or cut off: {error}", hint="export it again") from None
    if strange := [name for pair in keys for name in pair if not name.replace("_", "").isalnum()]:
        raise HarnessError(f"{path}: {strange[0]!r} is no kind and no key")
    return keys
