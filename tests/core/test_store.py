"""Artifacts: whole or not there, failures kept until success, an unwritable store is one message."""

import pytest

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
    assert store.manifest("train", "k") == {"facts": 1}
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


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match=r"can't be written(.|\n)*--store"):
        Store(tmp_path / "file" / "store").open()
