"""Suites, profiles and parts: products in order, overlays, every name checked, the paper's rows all there."""

from pathlib import Path

import pytest

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.planning import suite as suites
from harness.planning.suite import Suite, arms, load_part, load_profile, load_suite, names, profile_chain


def make(**rows) -> Suite:
    return parse(Suite, {"title": "t", "question": "q", "rows": [{"method": "m", **rows}]}, "s.toml")


def test_cells_are_the_product_in_the_order_written():
    suite = make(generator=["a", "b"], segmenter="s", backbone=["x", "y"])
    assert [arm.name for arm in arms(suite)] == ["a/s/x", "a/s/y", "b/s/x", "b/s/y"]


def test_table1_has_every_row_of_the_paper_and_the_control():
    found = [(arm.method, arm.generator, arm.backbone) for arm in arms(load_suite("table1"))]
    assert [f for f in found if f[0] == "OneFormer"] == [("OneFormer", "none", b) for b in ("convnext", "swin")]
    synthetic = [(g, b) for m, g, b in found if m == "InstSynth"]
    assert synthetic == [(g, b) for g in ("gligen", "diff_inpainting", "blended") for b in ("convnext", "swin")]
    assert {(g, b) for m, g, b in found if m == "Control"} == {
        ("focus", "convnext"),
        ("focus", "swin"),
        ("oracle", "convnext"),
    }


def test_every_suite_names_parts_that_exist():
    for name in names("suites"):
        for arm in arms(load_suite(name)):
            assert arm.generator in names("generators"), (name, arm)
            assert arm.segmenter is None or arm.segmenter in names("segmenters"), (name, arm)


def test_a_profile_lies_over_the_one_it_extends():
    assert profile_chain("smoke") == ["smoke", "mini"]
    mini, smoke = load_profile("mini"), load_profile("smoke")
    assert smoke.dataset == mini.dataset
    assert smoke.synthesis.frames == 4
    assert smoke.synthesis.top_k == mini.synthesis.top_k == 3
    assert not mini.comparable
    assert load_profile("paper").comparable


@pytest.fixture
def parts(tmp_path, monkeypatch) -> Path:
    for kind, name, text in (
        ("profiles", "mini", ""),
        ("profiles", "smoke", 'extends = "mini"\n'),
        ("profiles", "paper", ""),
        ("things", "a", "x = 1\n[t]\ny = 1\nz = 1\n[profiles.mini.t]\ny = 2\n[profiles.smoke.t]\nz = 3\n"),
        ("things", "bad", "[profiles.mimi]\nx = 1\n"),
        ("things", "b", 'extends = "a"\n[t]\nz = 9\n[profiles.smoke]\nx = 5\n'),
        ("things", "round", 'extends = "trip"\n'),
        ("things", "trip", 'extends = "round"\n'),
        ("things", "lost", 'extends = "c"\n'),
    ):
        (tmp_path / kind).mkdir(exist_ok=True)
        (tmp_path / kind / f"{name}.toml").write_text(text)
    monkeypatch.setattr(suites, "CONFIGS", tmp_path)
    return tmp_path


def test_overlays_hold_along_the_chain_of_profiles(parts: Path):
    assert load_part("things", "a", "paper")[0] == {"x": 1, "t": {"y": 1, "z": 1}}
    assert load_part("things", "a", "mini")[0] == {"x": 1, "t": {"y": 2, "z": 1}}
    assert load_part("things", "a", "smoke")[0] == {"x": 1, "t": {"y": 2, "z": 3}}


def test_unknown_names_have_near_ones(parts: Path):
    with pytest.raises(HarnessError, match="unknown thing 'aa'"):
        load_part("things", "aa", "mini")
    with pytest.raises(HarnessError, match=r"profiles\.mimi': no such profile(.|\n)*'mini'"):
        load_part("things", "bad", "mini")
    with pytest.raises(HarnessError, match=r"unknown profile 'papper'(.|\n)*'paper'"):
        load_part("things", "a", "papper")


def test_profiles_may_not_extend_each_other(parts: Path):
    (parts / "profiles" / "mini.toml").write_text('extends = "smoke"\n')
    with pytest.raises(HarnessError, match="circle"):
        profile_chain("mini")


def test_an_unknown_suite_is_one_message():
    with pytest.raises(HarnessError, match=r"table11\.toml: no such file(.|\n)*'table1'"):
        load_suite("table11")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"generator": "a"}, "names a segmenter and a backbone"),
        ({"generator": ["a", "a"], "segmenter": "s", "backbone": "x"}, "a/s/x stands twice"),
    ],
)
def test_a_suite_that_cannot_be_run_says_why(rows: dict, words: str):
    with pytest.raises(HarnessError, match=words):
        make(**rows)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("seeds", [-1], "seeds.0': input should be greater than or equal to 0"),
        ("seeds", [], "at least 1 item"),
        ("seeds", [0, 0], "distinct"),
        ("generator", [], "at least 1 item"),
        ("backbone", [], "at least 1 item"),
    ],
)
def test_what_can_never_run_is_refused_when_it_is_read(key, value, reason):
    row = {"method": "m", "generator": "none", "segmenter": "oneformer", "backbone": "convnext"}
    suite = {"title": "t", "question": "q", "rows": [row]}
    (suite if key == "seeds" else row)[key] = value
    with pytest.raises(HarnessError, match=reason):
        parse(suites.Suite, suite, "x.toml")


def test_a_part_lies_over_the_one_it_extends_as_the_profile_has_that(parts):
    assert load_part("things", "b", "paper")[0] == {"x": 1, "t": {"y": 1, "z": 9}}
    assert load_part("things", "b", "mini")[0] == {"x": 1, "t": {"y": 2, "z": 9}}
    assert load_part("things", "b", "smoke")[0] == {"x": 5, "t": {"y": 2, "z": 9}}
    with pytest.raises(HarnessError, match="round -> trip -> round is a circle"):
        load_part("things", "round", "mini")
    with pytest.raises(HarnessError, match="unknown thing 'c'"):
        load_part("things", "lost", "mini")
