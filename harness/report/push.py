"""This module pushes what a run wrote (report, tables, rows) with the statistics of its rows to a folder or to a data
set on the hub of Hugging Face.

What arrives is verified: it has a list of its files with sizes and hashes, and every byte is compared with it. It
arrives whole or not at all. Not here: what a report holds (written.py), and artifacts, which `harness store export`
carries.
"""

import contextlib
import ctypes
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.core import contents
from harness.core.errors import HarnessError
from harness.core.files import refused, sync, sync_folder, write_text
from harness.core.store import Store
from harness.planning.plan import Plan
from harness.report.markdown import escape
from harness.report.written import write_reports
from harness.results.baselines import STATISTICS, statistics_root
from harness.results.collect import rows, statistics_folder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HUB = "hub:"
CARD = "README.md"
_EXCHANGE = 2
_HERE = -100


class Pushed(NamedTuple):
    """A record says where a report went, with how many files of how many bytes."""

    where: str
    files: int
    bytes: int


def push(plan: Plan, store: Store, target: str) -> Pushed:
    """Push the report of a suite into `target`: a folder, or `hub:owner/name`; it stands below, under the name of the
    report. HarnessError when nothing is measured, or when it did not arrive whole.
    """
    measured = [row for row in rows(plan, store) if row.origin == "measured" and row.status == "ok"]
    if not measured:
        raise HarnessError(f"{plan.name}: no row is measured, so there is nothing to push", hint="harness run first")
    with _staged(plan, store) as folder:
        if target.startswith(HUB):
            return _to_hub(folder, target.removeprefix(HUB), plan.folder)
        return _to_folder(folder, Path(target).expanduser().absolute() / plan.folder)


@contextlib.contextmanager
def _staged(plan: Plan, store: Store) -> Iterator[Path]:
    """Everything that is pushed, in a folder of its own beside the reports."""
    reports = write_reports(plan, store)
    staged = reports.with_name(f".{reports.name}.{uuid.uuid4().hex}.part")
    try:
        try:
            shutil.copytree(reports, staged)
            _add_statistics(plan, store, staged)
        except OSError as error:
            raise refused(staged, error) from None
        table = (staged / "table.md").read_text(encoding="utf-8")
        about = f"# {escape(plan.suite.title)}\n\n{escape(plan.suite.question)}\n\n{table}\n"
        write_text(staged / CARD, f"{about}\nThe whole report is `report.html`, the rows are `rows.json`.\n")
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _add_statistics(plan: Plan, store: Store, folder: Path) -> None:
    """The statistics of each run, by which `harness compare` draws the intervals of these rows elsewhere, too."""
    for run in (run for row in rows(plan, store) if row.origin == "measured" for run in row.seeds):
        source = statistics_folder(run, store) / STATISTICS
        if run.folder and source.is_file():
            target = statistics_root(folder / "rows.json") / run.key / STATISTICS
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _to_folder(folder: Path, final: Path) -> Pushed:
    """Copy beside the place, verify, and change places with what is there."""
    new = final.with_name(f".{final.name}.{uuid.uuid4().hex}.part")
    try:
        sealed = contents.seal(folder)
        final.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, new)
        if wrong := contents.problems(new, sealed):
            raise HarnessError(f"{final}: did not arrive whole: {wrong[0]}", hint="nothing there was changed")
        sync(new, sorted(path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file()))
        _put(new, final)
        sync_folder(final.parent)
    except OSError as error:
        raise refused(final, error) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Pushed(str(final), sealed["files"], sealed["bytes"])


def _put(new: Path, final: Path) -> None:
    """Rename a folder into place; where one stands already the two change places, so that a reader sees one or the
    other."""
    if not final.exists():
        os.rename(new, final)
        return
    with contextlib.suppress(AttributeError, OSError):
        call = ctypes.CDLL(None, use_errno=True).renameat2
        if call(_HERE, os.fsencode(new), _HERE, os.fsencode(final), _EXCHANGE) == 0:
            return
    old = new.with_suffix(".old")  # a file system that cannot exchange: for a moment there is nothing
    os.rename(final, old)
    os.rename(new, final)
    shutil.rmtree(old, ignore_errors=True)


def _to_hub(folder: Path, repository: str, name: str) -> Pushed:
    """Upload in one commit, then ask the hub for the hash of every file."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, LocalTokenNotFoundError
    except ModuleNotFoundError:
        raise HarnessError("huggingface_hub is not installed", hint="pip install huggingface_hub") from None
    api, where = HfApi(), f"{HUB}{repository}"
    sealed = contents.seal(folder)
    try:
        api.create_repo(repository, repo_type="dataset", exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            repo_type="dataset",
            folder_path=folder,
            path_in_repo=name,
            delete_patterns="*",
            commit_message=f"harness push: {name}",
        )
        wrong = _differences(api, folder, repository, name)
    except (LocalTokenNotFoundError, HFValidationError) as error:
        raise HarnessError(f"{where}: {str(error).splitlines()[0]}", hint="`hf auth login` stores a token") from None
    except HfHubHTTPError as error:
        raise HarnessError(
            f"{where}: the hub refused it: {str(error).splitlines()[0]}", hint="nothing was pushed"
        ) from None
    except (HTTPError, OSError) as error:  # no connection, or HF_HUB_OFFLINE
        raise HarnessError(
            f"{where}: the hub cannot be reached ({type(error).__name__}), so nothing was pushed",
            hint="push to a folder, and from there when there is a connection",
        ) from None
    if wrong:
        raise HarnessError(f"{where}/{name}: did not arrive whole: {wrong[0]}", hint="push again")
    return Pushed(f"{where}/{name}", sealed["files"], sealed["bytes"])


def _differences(api: "HfApi", folder: Path, repository: str, name: str) -> list[str]:
    """Return what the hub has otherwise than the folder, by the hashes that it tells: of git, or of large files
    sha256."""
    from huggingface_hub.hf_api import RepoFile

    local = {f"{name}/{path.relative_to(folder).as_posix()}": path for path in folder.rglob("*") if path.is_file()}
    told = api.list_repo_tree(repository, name, recursive=True, repo_type="dataset")
    there = {entry.path: entry for entry in told if isinstance(entry, RepoFile)}
    found = [f"{path}: not there" for path in local if path not in there]
    found += [f"{path}: left from another push" for path in there if path not in local]
    for path in local.keys() & there.keys():
        data, entry = local[path].read_bytes(), there[path]
        same = (
            hashlib.sha256(data).hexdigest() == entry.lfs.sha256
            if entry.lfs
            else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == entry.blob_id
        )
        if not same:
            found.append(f"{path}: changed")
    return found
