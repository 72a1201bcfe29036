"""Checkpoints of TensorFlow: what was written is read, and what is damaged is refused."""

from pathlib import Path

import numpy as np
import pytest
import tensor_bundles
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.errors import HarnessError
from harness.weights.crc32c import crc32c, masked
from harness.weights.tensor_bundle import Bundle, snappy


def variables():
    rng = np.random.default_rng(0)
    found = {
        f"encoder/_stage{s}/_block{b}/kernel": rng.normal(size=(3, 3, s, b)).astype(np.float32)
        for s in range(1, 5)
        for b in range(1, 12)
    }
    found |= {f"of/{name}": (rng.normal(size=(2, 5)) * 40).astype(name) for name in tensor_bundles.DTYPES}
    return found | {"scalar": np.float32(2.5), "empty": np.zeros((0, 3), np.float32)}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"", 0),
    ],
)
def test_the_checksum_is_castagnolis(data, expected):
    assert crc32c(data) == expected


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200))
def test_the_checksum_is_that_of_a_loop_over_bytes(data):
    assert masked(crc32c(data)) == tensor_bundles.masked(data)


@pytest.mark.parametrize("packed", [False, True])
def test_variables_come_back(tmp_path, packed):
    expected = variables()
    tensor_bundles.write(tmp_path / "ckpt-7", expected, packed=packed)
    for prefix in (tmp_path / "ckpt-7", tmp_path / "ckpt-7.index"):
        bundle = Bundle(prefix)
        assert set(bundle.entries) == set(expected)
    for name, value in expected.items():
        found = bundle.read(name)
        assert found.dtype == value.dtype and np.array_equal(found, value), name


def test_a_bfloat16_is_the_upper_half_of_a_float32(tmp_path):
    tensor_bundles.write(tmp_path / "c", {"a/bfloat16": np.array([0x3F80, 0xC000], np.uint16)})
    assert Bundle(tmp_path / "c").read("a/bfloat16").tolist() == [1.0, -2.0]


def test_what_the_optimiser_keeps_is_left_out(tmp_path):
    tensor_bundles.write(tmp_path / "c", {"w": np.zeros(2), "w/.OPTIMIZER_SLOT/optimizer/m": np.zeros(2)})
    assert list(Bundle(tmp_path / "c").entries) == ["w"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_changed_byte_is_found_wherever_it_is(tmp_path, packed):
    value = np.random.default_rng(1).normal(size=40).astype(np.float32)
    tensor_bundles.write(tmp_path / "c", {"a/b": value, "a/c": value}, packed=packed)
    for suffix in (".index", ".data-00000-of-00001"):
        path = Path(f"{tmp_path / 'c'}{suffix}")
        whole = path.read_bytes()
        end = len(whole) - (48 if suffix == ".index" else 25)  # the footer has no checksum, nor is the graph read
        for place in range(0, end, 7):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
            try:
                bundle = Bundle(tmp_path / "c")
                found = {name: bundle.read(name) for name in bundle.entries}
            except HarnessError as error:
                assert "damaged" in error.message, error.message
            else:  # the empty block of metadata is not looked at
                assert suffix == ".index"
                assert all(np.array_equal(each, value) for each in found.values()) and len(found) == 2
        path.write_bytes(whole)


def test_a_file_that_ends_early_is_refused(tmp_path):
    tensor_bundles.write(tmp_path / "c", variables())
    for suffix in (".index", ".data-00000-of-00001"):
        path = Path(f"{tmp_path / 'c'}{suffix}")
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(HarnessError, match="damaged"):
            bundle = Bundle(tmp_path / "c")
            [bundle.read(name) for name in bundle.entries]
        path.write_bytes(whole)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(HarnessError, match=r"ckpt-9\.index: no such file"):
        Bundle(tmp_path / "ckpt-9")
    tensor_bundles.write(tmp_path / "c", {"w": np.zeros(2)})
    Path(f"{tmp_path / 'c'}.data-00000-of-00001").unlink()
    with pytest.raises(HarnessError, match="data-00000-of-00001: not readable"):
        Bundle(tmp_path / "c").read("w")


def test_strings_are_no_weights(tmp_path, monkeypatch):
    monkeypatch.setitem(tensor_bundles.DTYPES, "<U1", 7)
    tensor_bundles.write(tmp_path / "c", {"words": np.array(["a"])})
    with pytest.raises(HarnessError, match="words: values of type 7"):
        Bundle(tmp_path / "c").read("words")


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.sampled_from([b"encoder", b"/_stage", b"aaaaaaaaaaaaaaaaaaaaaaaaaaaa", b"\0\1\2", b"x"]), max_size=60)
)
def test_snappy_unpacks_what_was_packed(parts):
    data = b"".join(parts)
    assert snappy(tensor_bundles.snappy(data)) == data


def test_snappy_knows_every_kind_of_element():
    # "abcd", a copy that overlaps itself (offset 1, length 7), one of two bytes, one of four, a long literal
    long = bytes(range(100))
    packed = bytes([4 + 7 + 3 + 3 + 100, 3 << 2]) + b"abcd" + bytes([1 | 3 << 2, 1])
    packed += bytes([2 | 2 << 2, 11, 0]) + bytes([3 | 2 << 2, 3, 0, 0, 0]) + bytes([60 << 2, 99]) + long
    assert snappy(packed) == b"abcd" + b"ddddddd" + b"abc" + b"abc" + long


@pytest.mark.parametrize("packed", [b"\x05\x00a", b"\x04\x01\x09", b"\x05\x0cabcd\x01\x05", b"\x80", b"\x03\xf0"])
def test_bad_snappy_is_refused(packed):
    with pytest.raises(IndexError):
        snappy(packed)
