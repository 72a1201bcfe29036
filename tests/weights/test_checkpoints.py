"""Fingerprints change with what decides a picture and with nothing else."""

from functools import partial

import pytest
from tiny_parts import edit_config, save_checkpoint

from harness.core.errors import HarnessError
from harness.core.files import hash_into
from harness.generators.diffusion import PARTS
from harness.weights import checkpoints


@pytest.fixture
def folder(tmp_path):
    return save_checkpoint(tmp_path / "one")


def mark(folder):
    return checkpoints.fingerprint(str(folder), PARTS)


def test_a_copy_elsewhere_has_the_same_fingerprint(folder, tmp_path):
    import shutil

    assert mark(shutil.copytree(folder, tmp_path / "two")) == mark(folder)


@pytest.mark.parametrize(
    "file", ["unet/diffusion_pytorch_model.safetensors", "tokenizer/vocab.json", "scheduler/scheduler_config.json"]
)
def test_one_changed_byte_changes_the_fingerprint(folder, file):
    before = mark(folder)
    content = bytearray((folder / file).read_bytes())
    content[-3] ^= 1
    (folder / file).write_bytes(bytes(content))
    assert mark(folder) != before


def test_cards_and_pictures_do_not_count(folder):
    before = mark(folder)
    (folder / "unet" / "README.md").write_text("about")
    (folder / "other").mkdir()
    assert mark(folder) == before


def test_parts_of_large_files_count(folder, monkeypatch):
    monkeypatch.setattr(checkpoints, "hash_into", partial(hash_into, whole=1000))
    before = mark(folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert mark(folder) != before


def test_parts_beside_the_checkpoint_are_shared(folder):
    (folder / "inner").mkdir()
    (folder / "unet").rename(folder / "inner" / "unet")
    source = checkpoints.find(str(folder / "inner"))
    checkpoints.check_layout(source, PARTS, (9,))
    assert source.component("vae") == folder.resolve() / "vae"


def test_a_hub_id_is_its_name_and_revision():
    assert checkpoints.fingerprint("owner/name", PARTS) == "hub:owner/name@main"
    assert checkpoints.fingerprint("owner/name", PARTS, "abc") == "hub:owner/name@abc"


def test_an_unknown_embedded_name_is_refused_with_the_known_ones():
    with pytest.raises(HarnessError, match="no embedded checkpoint is called 'sdxl'"):
        checkpoints.find("embedded:sdxl")


def test_an_image_editing_unet_is_named(folder):
    edit_config(folder, "unet", in_channels=8)
    with pytest.raises(HarnessError, match=r"8 channels \(an image-editing model\), expected 9"):
        checkpoints.check_layout(checkpoints.find(str(folder)), PARTS, (9,))
