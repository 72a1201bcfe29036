"""Artifacts on disk, by content key.

A step works in partial/<kind>-<key>/, which survives kill -9; when it is done its manifest is written into that
folder, last, and the folder is renamed to artifacts/<kind>/<key>/. So whatever stands under artifacts/ is whole. What
failed leaves a traceback under failed/ until it succeeds or is retried.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.files import replace, write_text, write_through

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Store:
    """A folder of artifacts. Nothing is kept in memory: two processes may use one store."""

    root: Path

    def path(self, kind: str, key: str) -> Path:
        """Where the finished artifact lies, or will."""
        return self.root / "artifacts" / kind / key

    def partial(self, kind: str, key: str) -> Path:
        """Where the step works before it is done."""
        return self.root / "partial" / f"{kind}-{key}"

    def log(self, kind: str, key: str) -> Path:
        """What the step's process wrote to its standard error."""
        return self.root / "logs" / f"{kind}-{key}.log"

    def has(self, kind: str, key: str) -> bool:
        """Whether the artifact is whole."""
        return (self.path(kind, key) / MANIFEST).is_file()

    def manifest(self, kind: str, key: str) -> dict[str, Any]:
        """The manifest of a whole artifact."""
        path = self.path(kind, key) / MANIFEST
        return _read(path, "manifest", f"remove {path.parent} and run again")

    def failure(self, kind: str, key: str) -> dict[str, Any] | None:
        """What is known of the last failed try: message and traceback; None when there was none."""
        path = self._failed(kind, key)
        return _read(path, "record of a failure", f"remove {path}") if path.is_file() else None

    def open(self) -> None:
        """Make the folders; HarnessError when the store can't be written."""
        try:
            for name in ("artifacts", "partial", "failed", "logs", "locks"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            probe = self.root / "locks" / f".probe-{os.getpid()}"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise HarnessError(
                f"the store {self.root} can't be written: {error.strerror or error}",
                hint="choose another folder with --store or HARNESS_STORE",
            ) from None

    def commit(self, kind: str, key: str, manifest: dict[str, Any]) -> Path:
        """The step is done: write the manifest, rename the folder, forget its failures."""
        partial, final = self.partial(kind, key), self.path(kind, key)
        replace(partial / MANIFEST, lambda temporary: write_through(temporary, _render(manifest)))
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        self._failed(kind, key).unlink(missing_ok=True)
        return final

    def fail(self, kind: str, key: str, failure: dict[str, Any]) -> None:
        """Keep what went wrong; the partial folder stays, for a resume."""
        write_text(self._failed(kind, key), _render(failure))

    @contextlib.contextmanager
    def lock(self, kind: str, key: str) -> Iterator[None]:
        """Hold the step: a second run on the same store waits until the first is done with it."""
        with open(self.root / "locks" / f"{kind}-{key}", "w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _failed(self, kind: str, key: str) -> Path:
        return self.root / "failed" / f"{kind}-{key}.json"


def _read(path: Path, what: str, hint: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HarnessError(f"{path}: not a readable {what}: {error}", hint=hint) from None
    if not isinstance(found, dict):
        raise HarnessError(f"{path}: not a {what}: expected a table, found {type(found).__name__}", hint=hint)
    return found


def _render(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
