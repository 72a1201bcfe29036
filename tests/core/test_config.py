"""Strict TOML: every mistake is one message with file, key, expectation and near names."""

import pytest

from harness.core.config import Strict, merge, parse, read_json, read_toml
from harness.core.errors import HarnessError


class Inner(Strict):
    side: int
    share: float = 0.5
    pair: tuple[int, int] = (1, 2)


class Outer(Strict):
    name: str
    inner: Inner
    named: dict[str, Inner] = {}


def complaint(data: dict) -> str:
    with pytest.raises(HarnessError) as caught:
        parse(Outer, data, "x.toml")
    return str(caught.value)


def test_reads_what_is_right():
    outer = parse(Outer, {"name": "a", "inner": {"side": 3, "share": 1, "pair": [4, 5]}}, "x.toml")
    assert outer.inner == Inner(side=3, share=1.0, pair=(4, 5))


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"name": "a", "inner": {"side": 3}, "nmae": 1}, ["x.toml", "unknown key 'nmae'", "'name'"]),
        ({"name": "a", "inner": {"sied": 3}}, ["x.toml", "unknown key 'inner.sied'", "'side'"]),
        ({"name": "a", "inner": {"side": 3, "sahre": 3.0}}, ["unknown key 'inner.sahre'", "'share'"]),
        ({"name": "a", "inner": {"side": "3"}}, ["inner.side", "integer", "'3'"]),
        ({"name": "a", "inner": {"side": 1.5}}, ["inner.side", "integer", "1.5"]),
        ({"name": 7, "inner": {"side": 1}}, ["key 'name'", "string", "7"]),
        ({"inner": {"side": 1}}, ["key 'name' is missing"]),
        ({"name": "a", "inner": {"side": 1, "pair": [1]}}, ["inner.pair"]),
        ({"name": "a", "inner": {"side": 1}, "named": {"b": {"side": True}}}, ["named.b.side", "integer"]),
    ],
)
def test_names_file_key_expectation_and_near_names(data: dict, parts: list[str]):
    text = complaint(data)
    assert all(part in text for part in parts), text


def test_a_file_that_is_missing_or_broken(tmp_path):
    (tmp_path / "mini.toml").write_text("a = 1\n")
    with pytest.raises(HarnessError, match=r"no such file(.|\n)*mini"):
        read_toml(tmp_path / "mimi.toml")
    (tmp_path / "bad.toml").write_text("a = \n")
    with pytest.raises(HarnessError, match=r"bad\.toml: not a readable TOML"):
        read_toml(tmp_path / "bad.toml")


def test_merge_lays_tables_over_tables_and_leaves_the_rest():
    base = {"a": {"x": 1, "y": {"z": 1}}, "b": [1, 2]}
    over = {"a": {"y": {"w": 2}}, "b": [3]}
    assert merge(base, over) == {"a": {"x": 1, "y": {"z": 1, "w": 2}}, "b": [3]}
    assert base == {"a": {"x": 1, "y": {"z": 1}}, "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a = " + "9" * 5000, "too many digits"),
        ("a = inf", "no finite number"),
    ],
)
def test_a_toml_that_python_chokes_on_is_one_message(tmp_path, text, reason):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(HarnessError, match=rf"a\.toml: not a readable TOML file: .*{reason}"):
        read_toml(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "too many digits"),
        (b"[NaN]", "NaN is no finite number"),
        (b"[1e999]", "1e999 is no finite number"),
        (b"\xff\xfe", "codec"),
        (b"{", "line 1"),
    ],
)
def test_a_json_that_is_none_is_one_message(tmp_path, data, reason):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(HarnessError, match=rf"a\.json: not a readable row file: .*{reason}.*\n  make it again"):
        read_json(path, "row file", hint="make it again")


def test_a_long_value_is_cut_in_the_message():
    assert len(complaint({"name": ["x" * 100_000], "inner": {"side": 1}})) < 500
