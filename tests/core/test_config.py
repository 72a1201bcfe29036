"""Strict TOML: every mistake is one message with file, key, expectation and near names."""

import pytest

from harness.core.config import Strict, merge, parse, read_toml
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
