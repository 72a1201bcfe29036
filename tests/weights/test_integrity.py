"""Damaged checkpoints: each file in each way, and never a library's advice about its hub or its options."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.generators.base import GeneratorPart
from harness.inference.predictor import load
from harness.planning.suite import load_part
from harness.weights import TINY
from harness.weights.integrity import check_file, check_folder, is_whole

ADVICE = re.compile(
    r"hugging ?face|weights_only|\bhub\b|internet|hf download|local_files_only|trust_remote|ignore_mis", re.I
)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n"
FILES = [
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "scheduler/scheduler_config.json",
]


def without_most_tensors(path: Path) -> None:
    save_file(dict(list(load_file(path).items())[:2]), path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "pointer": lambda path: path.write_bytes(POINTER),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "one byte short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "bytes": lambda path: path.write_bytes(bytes(range(256))),
    "list": lambda path: path.write_bytes(b"[]"),
    "object": lambda path: path.write_bytes(b"{}"),
    "few tensors": without_most_tensors,
    "gone": Path.unlink,
}


def build(folder: Path) -> None:
    data, path = load_part("generators", "diff_inpainting", "mini")
    data["options"]["checkpoint"] = str(folder)
    parse(GeneratorPart, data, path).build("cpu")


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A whole checkpoint in diffusers' layout."""
    shutil.copytree(TINY / "diff_inpainting", tmp_path / "checkpoint")
    for part in ("vae", "text_encoder", "tokenizer"):
        shutil.copytree(TINY / part, tmp_path / "checkpoint" / part)
    return tmp_path / "checkpoint"


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_of_a_local_checkpoint_is_told_without_advice(checkpoint, name):
    build(checkpoint)
    path = checkpoint / name
    whole = path.read_bytes()
    for damage, do in DAMAGES.items():
        if damage in (("list", "object") if name.endswith(".safetensors") else ("few tensors", "one byte short")):
            continue
        if name.startswith("tokenizer") and damage in ("gone", "object"):
            continue  # what the tokenizer is built from stands in several files
        do(path)
        with pytest.raises(HarnessError) as error:
            build(checkpoint)
        text = str(error.value)
        assert not ADVICE.search(text), f"{damage}: {text}"
        assert str(checkpoint) in text
        if damage == "pointer":
            assert "Git LFS pointer" in text and name in text
        if damage in ("cut", "one byte short", "empty", "bytes"):
            assert name in text, f"{damage}: {text}"
        if damage == "few tensors":
            assert "lacks" in text
        path.write_bytes(whole)


def test_the_shipped_checkpoints_are_whole():
    check_folder(TINY)


def test_a_pointer_in_the_place_of_a_config_is_called_one(tmp_path):
    (tmp_path / "config.json").write_bytes(POINTER)
    with pytest.raises(HarnessError, match=r"config\.json: a Git LFS pointer"):
        load(str(tmp_path))
    with pytest.raises(HarnessError, match=r"config\.json: a Git LFS pointer"):
        load(str(tmp_path), "oneformer", "swin")


def test_hints_for_a_local_folder_name_no_download(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "oneformer"}')
    with pytest.raises(HarnessError) as error:
        load(str(tmp_path), "oneformer", "swin")
    assert not ADVICE.search(str(error.value))


@pytest.mark.parametrize(
    "head", [b"", b"\xff" * 8, (2).to_bytes(8, "little") + b"[]", (9).to_bytes(8, "little") + b"{}"]
)
def test_what_is_no_safetensors_file_is_not_whole(tmp_path, head):
    path = tmp_path / "model.safetensors"
    path.write_bytes(head)
    assert not is_whole(path)
    with pytest.raises(HarnessError, match="damaged, or not whole"):
        check_file(path)
