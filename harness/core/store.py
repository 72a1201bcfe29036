"""The store keeps artifacts on disk by content key.

Who holds the lease of a step works in partial/<kind>-<key>.<n>/, n being the number of his tenure; the folder survives
kill -9. When the step is done its manifest is written into that folder, last, and the folder is renamed to
artifacts/<kind>/<key>/. So whatever stands under artifacts/ is whole. What failed leaves a record under failed/ until
it succeeds or is tried again.
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.core import contents, leases
from harness.core.errors import HarnessError
from harness.core.failures import Failure
from harness.core.files import TEMPORARY, refused, replace, sync_folder, write_text, write_through

MANIFEST = "manifest.json"
FOLDERS = ("artifacts", "partial", "failed", "logs", "leases", "runs")


@dataclass(frozen=True)
class Store:
    """A store is a folder of artifacts; nothing is cached in memory, so many processes on many machines may share one
    store.
    """

    root: Path
    watch: leases.Watch = field(default_factory=leases.Watch, compare=False, repr=False)
    """Times the leases of others."""

    def path(self, kind: str, key: str) -> Path:
        """Return the folder of the finished artifact, present or future."""
        return self.root / "artifacts" / kind / key

    def partial(self, kind: str, key: str, tenure: int = 0) -> Path:
        """Return the folder in which the holder of a tenure works before the step is done."""
        return self.root / "partial" / (f"{kind}-{key}.{tenure}" if tenure else f"{kind}-{key}")

    def log(self, kind: str, key: str) -> Path:
        """Return the path of the standard error of the step's process."""
        return self.root / "logs" / f"{kind}-{key}.log"

    def has(self, kind: str, key: str) -> bool:
        """Return whether the artifact is there and whole."""
        return os.path.isfile(f"{self.root}/artifacts/{kind}/{key}/{MANIFEST}")

    def manifest(self, kind: str, key: str) -> dict[str, Any]:
        """Return the manifest of a whole artifact."""
        path = self.path(kind, key) / MANIFEST
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise HarnessError(f"{path}: not a readable manifest: {error}", hint=_again(path.parent)) from None
        if not isinstance(found, dict):
            raise HarnessError(
                f"{path}: not a manifest: expected a table, found {type(found).__name__}", hint=_again(path.parent)
            )
        if not contents.is_vouched_for(found) or (found.get("kind", kind), found.get("key", key)) != (kind, key):
            raise HarnessError(f"{path}: changed since it was written", hint=_again(path.parent))
        return found

    def intact(self, kind: str, key: str) -> Path:
        """Return the folder of a whole artifact whose every byte is as it was written; HarnessError when one is not."""
        self.manifest(kind, key)
        folder = self.path(kind, key)
        contents.refuse_damaged(folder)
        return folder

    def failure(self, kind: str, key: str) -> Failure | None:
        """Return the record of the last failed try; None when there was none."""
        path = self._failed(kind, key)
        if not path.is_file():
            return None
        try:
            return Failure.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise HarnessError(f"{path}: not a readable record of a failure: {reason}", hint=_again(path)) from None

    def open(self) -> None:
        """Make the folders; HarnessError when the store can't be written."""
        try:
            for name in FOLDERS:
                (self.root / name).mkdir(parents=True, exist_ok=True)
            probe = self.root / "leases" / f".probe-{os.getpid()}"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise HarnessError(
                f"the store {self.root} can't be written: {error.strerror or error}",
                hint="choose another folder with --store or HARNESS_STORE",
            ) from None

    def lease(self, kind: str, key: str, holder: leases.Holder) -> leases.Lease | None:
        """Take the lease of a step; None while another worker holds it."""
        return leases.take(self._lease(kind, key), holder, self.watch)

    def tenure(self, kind: str, key: str) -> leases.Tenure:
        """Return the newest tenure of a step: who holds it, or held it last."""
        return leases.newest(self._lease(kind, key))

    def tenure_file(self, kind: str, key: str, number: int) -> Path:
        """Return the path of the tenure's file, which its holder writes."""
        return self._lease(kind, key) / leases.file_name(number)

    def leased(self) -> list[tuple[str, str]]:
        """Return kind and key of every step that a worker holds, or held without finishing it."""
        found = (name.partition("-") for name in self.names("leases"))
        return [(kind, key) for kind, _, key in found]

    def release(self, is_over: Callable[[leases.LeaseRecord], bool]) -> list[tuple[str, str]]:
        """Release the leases whose holders are known to have died; return kind and key of each.

        The next worker need not wait until their silence is long enough. A holder that lives after all loses its step.
        """
        released = []
        for kind, key in self.leased():
            record = self.tenure(kind, key).record
            if record is not None and record.held and is_over(record):
                lease = leases.take(self._lease(kind, key), leases.Holder("release"), self.watch, over=record.token)
                if lease is not None:
                    lease.give_back()
                    released.append((kind, key))
        return released

    def failures(self) -> list[tuple[str, str]]:
        """Return kind and key of every step that has failed."""
        names = (name.removesuffix(".json").partition("-") for name in self.names("failed"))
        return [(kind, key) for kind, _, key in names]

    def half_done(self) -> set[str]:
        """Return the keys of the steps that were begun and are not done."""
        return {name.partition("-")[2].partition(".")[0] for name in self.names("partial")}

    def is_gone(self, kind: str, key: str) -> bool:
        """Return whether no living worker holds the step; callers poll, since the holder's silence is timed from the
        first call.
        """
        folder = self._lease(kind, key)
        tenure = leases.newest(folder)
        return not tenure.number or self.watch.is_gone(folder, tenure)

    def adopt(self, kind: str, key: str, lease: leases.Lease) -> Path:
        """Return the folder to work in, with the files of earlier holders; from now on those can neither write there
        nor commit it.

        What stands damaged in the place of the artifact is set aside.
        """
        mine = self.partial(kind, key, lease.number)
        for found in self._partials(kind, key):
            if found != mine and not mine.exists():
                with contextlib.suppress(FileNotFoundError):
                    found.rename(mine)
            elif found != mine:
                shutil.rmtree(found, ignore_errors=True)
        mine.mkdir(parents=True, exist_ok=True)
        for half in mine.rglob(TEMPORARY):
            half.unlink(missing_ok=True)  # an earlier holder may still have it open and write to it
        final = self.path(kind, key)
        if final.exists() and not self.has(kind, key):
            self.set_aside(kind, key)
        return mine

    def set_aside(self, kind: str, key: str) -> None:
        """Move a damaged artifact out of the way; it is kept under damaged/ until the next `gc`."""
        folder = self.root / "damaged"
        folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            try:
                self.path(kind, key).rename(folder / f"{kind}-{key}.{number}")
                return
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise refused(folder, error) from None
                number += 1

    def commit(self, kind: str, key: str, manifest: dict[str, Any], *, partial: Path | None = None) -> Path:
        """Write the manifest of a step that is done, rename its folder into place and forget its failures.

        HarnessError when the folder was taken over by another holder, or an artifact stands there already.
        """
        partial, final = partial or self.partial(kind, key), self.path(kind, key)
        if not partial.is_dir():
            raise HarnessError(f"{partial}: taken over by another worker")
        replace(partial / MANIFEST, lambda temporary: write_through(temporary, _render(contents.vouched_for(manifest))))
        sync_folder(partial)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.rename(final)
        except OSError as error:
            raise HarnessError(f"{final}: cannot be committed: {error.strerror or error}") from None
        sync_folder(final.parent)
        self.forget(kind, key)
        return final

    def fail(self, kind: str, key: str, failure: Failure) -> None:
        """Write the record of a failure; the partial folder stays, so that the step can resume."""
        write_text(self._failed(kind, key), failure.model_dump_json(indent=1) + "\n")

    def forget(self, kind: str, key: str) -> None:
        """Remove the record of a failure."""
        self._failed(kind, key).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder of the store; none where the store does not exist yet."""
        try:
            return [name for name in os.listdir(self.root / folder) if not name.startswith(".")]
        except FileNotFoundError:
            return []

    def _failed(self, kind: str, key: str) -> Path:
        return self.root / "failed" / f"{kind}-{key}.json"

    def _lease(self, kind: str, key: str) -> Path:
        return self.root / "leases" / f"{kind}-{key}"

    def _partials(self, kind: str, key: str) -> list[Path]:
        """Return the folders of all tenures, newest first."""
        name = self.partial(kind, key).name
        plain = self.partial(kind, key)
        numbered = [path for path in plain.parent.glob(f"{name}.*") if path.suffix[1:].isdigit()]
        found = sorted(numbered, key=lambda path: int(path.suffix[1:]), reverse=True)
        return [*found, *([plain] if plain.exists() else [])]


def _again(path: Path) -> str:
    return f"remove {path} and run again"


def _render(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
