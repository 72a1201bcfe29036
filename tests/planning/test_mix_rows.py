"""Rows that mix otherwise, rows with shuffled labels, and weights on this disk: what each does to names and keys."""

import shutil

import pytest

from harness.core.errors import HarnessError
from harness.planning.plan import chain, make_plan
from harness.planning.suite import CONFIGS, load_suite
from harness.segmenters.base import SegmenterPart

ROW = """
title = "t"
question = "q"
[[rows]]
method = "m"
generator = "focus"
segmenter = "oneformer"
backbone = "convnext"
"""


def plan(folder, more=""):
    path = folder / "mixed.toml"
    path.write_text(ROW + more)
    return make_plan(str(path), "mini")


def trainings(made):
    return {row.arm.name: next(s for s in chain(row.finals[0]) if s.kind == "train") for row in made.rows}


def test_the_mix_is_a_factor_of_the_rows_and_the_default_is_what_it_was(tmp_path):
    plain = trainings(plan(tmp_path))
    mixes = '[{}, { kind = "probability", probability = 0.3 }, { labels = "shuffled" }]'
    found = trainings(plan(tmp_path, f"mix = {mixes}"))
    name = "focus/oneformer/convnext"
    assert list(found) == [name, f"{name}/probability 0.3", f"{name}/shuffled labels"]
    assert found[name].key == plain[name].key
    assert len({step.key for step in found.values()}) == 3
    assert [step.spec.mix.name for step in found.values()] == ["", "probability 0.3", "shuffled labels"]
    assert len({step.inputs["synthesis"].key for step in found.values()}) == 1


def test_real_frames_alone_are_trained_on_once_whatever_the_mix(tmp_path):
    mixes = '[{}, { kind = "probability", probability = 0.3 }, { labels = "shuffled" }]'
    path = tmp_path / "mixed.toml"
    path.write_text(ROW.replace('"focus"', '"none"') + f"mix = {mixes}")
    keys = [step.key for step in trainings(make_plan(str(path), "mini")).values()]
    assert keys[0] == keys[1] != keys[2]


def test_the_key_of_a_default_mix_says_nothing_of_labels(tmp_path):
    spec = trainings(plan(tmp_path))["focus/oneformer/convnext"].spec
    assert spec.model_dump(mode="json")["mix"] == {"kind": "concat", "probability": 0.5}
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec


def test_a_mistake_in_a_mix_names_file_and_key(tmp_path):
    path = tmp_path / "mixed.toml"
    path.write_text(ROW + 'mix = { kind = "probability", probability = 1.5 }')
    with pytest.raises(HarnessError, match=r"mixed\.toml.*rows\.0\.mix.*probability"):
        load_suite(str(path))


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """A copy of the parts, to be changed."""
    copy = tmp_path / "configs"
    shutil.copytree(CONFIGS, copy)
    monkeypatch.setattr("harness.planning.suite.CONFIGS", copy)
    return copy


@pytest.mark.parametrize("kind", ["checkpoint", "weights"])
@pytest.mark.parametrize("name", ["folder", "file.pth"])
def test_what_is_in_a_local_checkpoint_is_part_of_the_key_and_a_hub_id_is_its_name(configs, tmp_path, kind, name):
    part = configs / "segmenters" / "oneformer.toml"
    text = part.read_text()
    source = tmp_path / name

    def key():
        part.write_text(text.replace('checkpoint = "embedded:oneformer_convnext"\n', f'{kind} = "{source}"\n'))
        return trainings(plan(tmp_path))["focus/oneformer/convnext"].key

    absent = key()
    inside = source if "." in name else source / "model.safetensors"
    inside.parent.mkdir(exist_ok=True)
    inside.write_bytes(b"one")
    one = key()
    inside.write_bytes(b"two")
    assert len({absent, one, key()}) == 3
    inside.write_bytes(b"one")
    assert key() == one
    source = "facebook/mask2former"
    assert key() == key() != one


def test_a_part_without_weights_keeps_its_key(configs, tmp_path, monkeypatch):
    part = configs / "segmenters" / "oneformer.toml"
    part.write_text(part.read_text().replace('checkpoint = "embedded:oneformer_convnext"\n', ""))
    before = trainings(plan(tmp_path))["focus/oneformer/convnext"]
    monkeypatch.setattr(SegmenterPart, "fingerprint", lambda part, backbone: "")
    assert trainings(plan(tmp_path))["focus/oneformer/convnext"].key == before.key
