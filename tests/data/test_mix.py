"""The training stream."""

from collections import Counter
from pathlib import Path

import pytest

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.data.base import Frame
from harness.data.cityscapes import CITYSCAPES
from harness.data.mix import Mix, Stream, shuffled, source_name
from harness.data.tree import Tree


def frame(name):
    return Frame(name=name, city="a", split="train", image=Path(name), instance_ids=Path(name))


REAL = tuple(frame(f"toy_{n:06d}_000019") for n in range(5))
MADE = tuple(frame(f"toy-26000-{v}_{n:06d}_000019") for n in range(3) for v in range(2))


def names(mix, count, seed=0):
    stream = Stream(labels=CITYSCAPES, real=REAL, synthetic=MADE, mix=mix, seed=seed)
    return [stream.at(i).frame.name for i in range(count)]


def test_concat_shows_every_frame_once_an_epoch():
    seen = names(Mix(), 22)
    assert sorted(seen[:11]) == sorted(seen[11:]) == sorted(f.name for f in REAL + MADE)
    assert seen[:11] != seen[11:]


def test_a_position_does_not_depend_on_what_was_asked_before():
    stream = Stream(labels=CITYSCAPES, real=REAL, synthetic=MADE, mix=Mix(), seed=4)
    backwards = [stream.at(i) for i in reversed(range(30))]
    again = Stream(labels=CITYSCAPES, real=REAL, synthetic=MADE, mix=Mix(), seed=4)
    assert [again.at(i) for i in range(30)] == backwards[::-1]
    assert names(Mix(), 11, seed=5) != names(Mix(), 11, seed=4)


def test_probability_replaces_frames_by_their_own_synthetic_ones():
    seen = names(Mix(kind="probability", probability=0.5), 2000)
    counts = Counter(source_name(frame(name)) for name in seen)
    assert set(counts.values()) == {400}, "each real frame keeps its turns"
    replaced = sum("-" in name for name in seen)
    assert replaced == pytest.approx(0.5 * 3 * 400, rel=0.1), "two of five frames have nothing made from them"
    assert not any("-" in name for name in names(Mix(kind="probability", probability=0.0), 50))


def test_probability_out_of_range_is_refused():
    with pytest.raises(HarnessError, match=r"mix.toml: key 'probability'.*1\.5"):
        parse(Mix, {"kind": "probability", "probability": 1.5}, "mix.toml")


def test_source_name_of_a_focused_crop():
    assert source_name(MADE[0]) == REAL[0].name
    assert source_name(REAL[0]) == REAL[0].name


def test_shuffled_labels_are_those_of_another_frame_of_the_same_tree(tmp_path):
    toy_tree = [Tree(tmp_path).frame("train", "a", f"a_{n:06d}_000019") for n in range(7)]
    made = shuffled(tuple(toy_tree), 3)
    assert [f.image for f in made] == [f.image for f in toy_tree]
    assert sorted(f.instance_ids for f in made) == sorted(f.instance_ids for f in toy_tree)
    assert all(new.instance_ids != old.instance_ids for new, old in zip(made, toy_tree, strict=True))
    assert all(f.instance_ids.name[:8] == f.label_ids.name[:8] for f in made)
    assert shuffled(tuple(toy_tree), 3) == made != shuffled(tuple(toy_tree), 4)
    assert shuffled(tuple(toy_tree[:1]), 0) == tuple(toy_tree[:1])
    assert shuffled((), 0) == ()


def test_real_frames_alone_are_one_stream_whatever_the_mix():
    mixes = Mix(), Mix(kind="probability", probability=0.7)
    concat, other = (Stream(labels=CITYSCAPES, real=REAL, synthetic=(), mix=mix, seed=3) for mix in mixes)
    assert [concat.at(k) for k in range(50)] == [other.at(k) for k in range(50)]
