"""Compiled loops and Pillow with numpy give the same counts, for every kind of PNG, and the same errors."""

import io
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.metrics import reader as reader_module
from harness.metrics.base import Target
from harness.metrics.reader import reader

FILTERS = [cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_FILTER_SUB, cv2.IMWRITE_PNG_FILTER_UP]
FILTERS += [cv2.IMWRITE_PNG_FILTER_AVG, cv2.IMWRITE_PNG_FILTER_PAETH, cv2.IMWRITE_PNG_ALL_FILTERS]
IDS = np.array([0, 1, 3, 7, 23, 24, 26, 24001, 26000, 26001, 33999], np.uint16)


def blocks(rng: np.random.Generator, values: np.ndarray, size: tuple[int, int], noise: float) -> np.ndarray:
    """A map of rectangles with some single pixels."""
    result = np.full(size, values[0])
    for _ in range(rng.integers(0, 12)):
        top, left = rng.integers(0, size[0]), rng.integers(0, size[1])
        result[top : top + rng.integers(1, size[0] + 1), left : left + rng.integers(1, size[1] + 1)] = rng.choice(
            values
        )
    single = rng.random(size) < noise
    result[single] = rng.choice(values, single.sum())
    return result


def encode(rng: np.random.Generator, pixels: np.ndarray) -> bytes:
    """A PNG by Pillow or by OpenCV, with one of the row filters."""
    if rng.random() < 0.3:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", optimize=bool(rng.random() < 0.5))
        return buffer.getvalue()
    options = [cv2.IMWRITE_PNG_COMPRESSION, int(rng.integers(0, 10)), cv2.IMWRITE_PNG_FILTER, int(rng.choice(FILTERS))]
    return cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels, options)[1].tobytes()


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), height=st.integers(1, 40), width=st.integers(1, 300))
def test_compiled_and_numpy_count_alike(tmp_path, seed, height, width):
    rng = np.random.default_rng(seed)
    noise = float(rng.choice([0, 0.01, 0.5]))
    plain, compiled = reader(compiled=False), reader(compiled=True)
    path = tmp_path / "ids.png"
    path.write_bytes(encode(rng, blocks(rng, IDS, (height, width), noise)))
    truths = plain.target(path, CITYSCAPES), compiled.target(path, CITYSCAPES)
    np.testing.assert_array_equal(truths[0].ids, truths[1].ids)
    regions = plain.regions(truths[0]), compiled.regions(truths[1])
    for one, other in zip(*regions, strict=True):
        np.testing.assert_array_equal(one, other)
    labels = rng.integers(0, 34, 5).astype(np.uint8)
    colors = rng.integers(0, 1 << 24, 6)
    for kind, pixels in (
        ("under", np.where(blocks(rng, np.arange(2), (height, width), noise), 255, 0).astype(np.uint8)),
        ("labels", blocks(rng, labels, (height, width), noise)),
        ("segments", blocks(rng, colors, (height, width), noise)),
    ):
        if kind == "segments":
            pixels = np.stack([pixels % 256, pixels // 256 % 256, pixels // 65536], -1).astype(np.uint8)
        path.write_bytes(encode(rng, pixels))
        extra = (regions[0],) if kind == "under" else ()
        found = getattr(plain, kind)(path, truths[0], *extra), getattr(compiled, kind)(path, truths[1], *extra)
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=kind)


def test_a_target_keeps_its_pixels_when_other_frames_are_read(tmp_path):
    rng = np.random.default_rng(3)
    maps = [blocks(rng, IDS, (30, 40), 0.1) for _ in range(3)]
    labels = rng.integers(0, 34, (30, 40)).astype(np.uint8)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    read, plain = reader(compiled=True), reader(compiled=False)
    targets = []
    for place, ids in enumerate(maps):
        path = tmp_path / f"{place}.png"
        path.write_bytes(cv2.imencode(".png", ids)[1].tobytes())
        targets.append(read.target(path, CITYSCAPES))
    outlives = read.target(tmp_path / "0.png", CITYSCAPES).ids
    other = Target(ids=maps[2], labels=CITYSCAPES)
    for target, ids in [*zip(targets, maps, strict=True), (other, maps[2]), (targets[0], maps[0])]:
        expected = plain.labels(tmp_path / "labels.png", Target(ids=ids, labels=CITYSCAPES))
        for one, same in zip(read.labels(tmp_path / "labels.png", target), expected, strict=True):
            np.testing.assert_array_equal(one, same)
    for target, ids in reversed([*zip(targets, maps, strict=True)]):
        np.testing.assert_array_equal(target.ids, ids)
    for target, ids in zip(targets, maps, strict=True):
        np.testing.assert_array_equal(target.ids, ids)
    np.testing.assert_array_equal(outlives, maps[0])


def test_more_pairs_than_the_table_has_room_for(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.permutation(1 << 24)[: 100 * 300].reshape(100, 300)
    truth = Target(ids=rng.choice(IDS, (100, 300)), labels=CITYSCAPES)
    Image.fromarray(np.stack([values % 256, values // 256 % 256, values // 65536], -1).astype(np.uint8)).save(
        tmp_path / "s.png"
    )
    one, other = (reader(compiled=c).segments(tmp_path / "s.png", truth) for c in (False, True))
    assert len(one.counts) == 30_000
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_more_regions_than_there_is_room_for():
    ids = np.concatenate([np.arange(24000, 26000), np.arange(2000) * 0 + 7]).astype(np.uint16).reshape(40, 100)
    one, other = (reader(compiled=c).regions(Target(ids=ids, labels=CITYSCAPES)) for c in (False, True))
    assert len(one.ids) == 2001
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGB", "RGBA", "I;16"])
def test_masks_of_other_kinds_go_through_pillow(tmp_path, mode):
    rng = np.random.default_rng(1)
    inside = rng.random((20, 30)) < 0.4
    image = Image.fromarray(np.where(inside, 1, 0).astype(np.uint8))
    if mode == "P":
        image.putpalette([0, 0, 0, 0, 0, 5] + [9] * 762)
    elif mode == "I;16":
        image = Image.fromarray(inside.astype(np.uint16))
    else:
        image = (
            Image.fromarray(inside)
            if mode == "1"
            else Image.fromarray(np.where(inside, 5, 0).astype(np.uint8)).convert(mode)
        )
    image.save(tmp_path / "mask.png")
    truth = Target(ids=rng.choice(IDS, (20, 30)), labels=CITYSCAPES)
    expected = int((np.asarray(Image.open(tmp_path / "mask.png").convert("L")) != 0).sum())
    for compiled in (False, True):
        read = reader(compiled=compiled)
        assert read.under(tmp_path / "mask.png", truth, read.regions(truth))[1].sum() == expected > 0


def test_damage_has_the_same_message_either_way(tmp_path):
    rng = np.random.default_rng(2)
    truth = Target(ids=rng.choice(IDS, (60, 80)), labels=CITYSCAPES)
    whole = encode(rng, rng.integers(0, 34, (60, 80)).astype(np.uint8))
    path = tmp_path / "labels.png"
    for damaged in (
        b"",
        whole[:30],
        whole[: len(whole) // 2],
        whole[:-200],
        b"text",
        whole[:60] + b"\0" * 50 + whole[110:],
    ):
        path.write_bytes(damaged)
        messages = []
        for compiled in (False, True):
            with pytest.raises(HarnessError) as caught:
                reader(compiled=compiled).labels(path, truth)
            messages.append(str(caught.value))
        assert messages[0] == messages[1] and "labels.png" in messages[0]


def test_zlib_serves_where_libdeflate_is_missing(monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "deflate":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    body = zlib.compress(b"abc" * 100)
    assert reader_module._inflate(body, 300) == b"abc" * 100
    assert reader_module._inflate(body[:-9], 300) is None
