"""Patterns name the parts of paths."""

import pytest

from harness.core.errors import HarnessError
from harness.data.patterns import expression, matches, source_of, tells_source

FILES = {
    "{source}_{variant}.png": ("a_1_2_x.png", {"source": "a_1_2", "variant": "x"}),
    "{source}.png": ("a_1_2.png", {"source": "a_1_2"}),
    "**/{source}_{instance}.png": ("deep/er/a_1_2_26001.png", {"source": "a_1_2", "instance": "26001"}),
    "**/{source}_{instance}_{variant}.jpg": (
        "a_1_2_26001_3.jpg",
        {"source": "a_1_2", "instance": "26001", "variant": "3"},
    ),
    "{city}/{sequence}_{frame}_*.png": ("a/1_2_night.png", {"city": "a", "sequence": "1", "frame": "2"}),
    "{city}/{city}_{sequence}_{frame}.png": ("a/a_1_2.png", {"city": "a", "sequence": "1", "frame": "2"}),
    "night (1)/{source}+{variant}.png": ("night (1)/a_1_2+b.png", {"source": "a_1_2", "variant": "b"}),
}


@pytest.mark.parametrize("pattern", FILES)
def test_a_pattern_reads_its_fields(pattern):
    name, fields = FILES[pattern]
    hit = expression(pattern).fullmatch(name)
    assert hit and hit.groupdict() == fields
    assert source_of(fields) == "a_1_2" and tells_source(pattern)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{source}.png", "a_1_2_3.png"),
        ("{source}.png", "sub/a_1_2.png"),
        ("*/{source}.png", "a_1_2.png"),
        ("{city}/{city}_{sequence}_{frame}.png", "a/b_1_2.png"),
        ("{source}_{instance}.png", "a_1_2_x.png"),
        ("{source}.png", "a_1_2xpng"),
    ],
)
def test_what_does_not_fit_is_not_matched(pattern, name):
    assert expression(pattern).fullmatch(name) is None


def test_unknown_fields_name_the_nearest():
    with pytest.raises(ValueError, match=r"sorce.*did you mean 'source'"):
        expression("{sorce}.png")


def test_files_come_in_the_order_of_their_names_and_hidden_ones_do_not(tmp_path):
    for name in ("b/a_1_2.png", "a/a_1_3.png", ".git/a_1_4.png", "a/.a_1_5.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = matches(tmp_path, "**/{source}.png")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a/a_1_3.png", "b/a_1_2.png"]
    with pytest.raises(HarnessError, match=r"no file is of the pattern.*holds 2 files, such as a/a_1_3.png"):
        matches(tmp_path, "{source}.jpg")
    with pytest.raises(HarnessError, match="no such folder"):
        matches(tmp_path / "c", "{source}.png")
