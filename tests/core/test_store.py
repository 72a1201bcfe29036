"""Artifacts: whole or not there, failures kept until success, an unwritable store is one message."""

from pathlib import Path

import pytest

from harness.core import contents
from harness.core.errors import HarnessError
from harness.core.failures import Failure
from harness.core.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "store")
    store.open()
    return store


def test_an_artifact_is_there_only_with_its_manifest(store: Store):
    store.partial("train", "k").mkdir(parents=True)
    (store.partial("train", "k") / "weights").write_text("w")
    assert not store.has("train", "k")
    store.commit("train", "k", {"facts": 1})
    assert store.has("train", "k")
    assert store.manifest("train", "k").items() > {"facts": 1}.items()
    assert (store.path("train", "k") / "weights").read_text() == "w"
    assert not store.partial("train", "k").exists()


def test_a_failure_is_kept_until_the_step_succeeds(store: Store):
    store.fail("train", "k", Failure(kind="error", message="nan"))
    assert store.failure("train", "k") == Failure(kind="error", message="nan")
    store.partial("train", "k").mkdir(parents=True)
    store.commit("train", "k", {})
    assert store.failure("train", "k") is None


def test_a_broken_manifest_names_its_file(store: Store):
    store.partial("train", "k").mkdir(parents=True)
    folder = store.commit("train", "k", {})
    (folder / "manifest.json").write_text("{")
    with pytest.raises(HarnessError, match=r"manifest\.json: not a readable manifest"):
        store.manifest("train", "k")


def committed(store: Store) -> Path:
    partial = store.partial("train", "k")
    partial.mkdir(parents=True)
    (partial / "weights").write_text("w")
    manifest = {"version": 3, "kind": "train", "key": "k", "facts": {"loss": 0.5}, "contents": contents.seal(partial)}
    return store.commit("train", "k", manifest)


def test_a_whole_artifact_is_intact(store: Store):
    assert store.intact("train", "k" if committed(store) else "") == store.path("train", "k")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("manifest.json", "0.5", "0.4"),
        ("manifest.json", '"seal"', '"mark"'),
        ("weights", "w", "v"),
        ("weights", "w", "ww"),
        ("contents.json", "weights", "heights"),
    ],
)
def test_an_artifact_that_was_changed_is_not_intact(store: Store, name, old, new):
    path = committed(store) / name
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(HarnessError, match=r"train/k") as error:
        store.intact("train", "k")
    assert "run again" in str(error.value)


def test_an_artifact_that_lost_or_gained_a_file_is_not_intact(store: Store):
    folder = committed(store)
    (folder / "more").write_text("")
    with pytest.raises(HarnessError, match="more"):
        store.intact("train", "k")
    (folder / "more").unlink()
    (folder / "weights").unlink()
    with pytest.raises(HarnessError, match="weights"):
        store.intact("train", "k")


def test_the_manifest_of_another_artifact_is_refused(store: Store):
    folder = committed(store)
    folder.rename(store.path("train", "other"))
    with pytest.raises(HarnessError, match=r"changed since it was written"):
        store.manifest("train", "other")


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match=r"can't be written(.|\n)*--store"):
        Store(tmp_path / "file" / "store").open()
