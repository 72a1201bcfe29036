"""A label set derives what it should, refuses what its encoding cannot hold, and Cityscapes' is the official one."""

import pickle

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as official
from hypothesis import given
from hypothesis import strategies as st
from sets import FRUIT

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.data.base import labels_key
from harness.data.cityscapes import CITYSCAPES
from harness.data.labels import IGNORE, Label, LabelSet

SETS = (CITYSCAPES, FRUIT)


def test_cityscapes_is_the_official_one():
    assert [(x.name, x.id, x.train_id, x.ignored, x.is_thing, x.color) for x in CITYSCAPES.labels] == [
        (x.name, x.id, x.trainId, x.ignoreInEval, x.hasInstances, x.color) for x in official
    ]
    assert [x.train_id for x in CITYSCAPES.evaluated] == list(range(19))
    assert [x.id for x in CITYSCAPES.things] == [24, 25, 26, 27, 28, 31, 32, 33]
    assert {0, 4, 9, 29, 30, -1} < CITYSCAPES.ignored and not {7, 24, 33} & CITYSCAPES.ignored
    sized = {x.name for x in CITYSCAPES.labels if x.mean_size}
    assert sized == {x.name for x in official if x.hasInstances}


def test_mean_sizes_are_those_of_the_official_script():
    from cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling import args

    assert {x.name: x.mean_size for x in CITYSCAPES.labels if x.mean_size} == args.avgClassSize


@pytest.mark.parametrize("labels", SETS, ids=lambda labels: labels.name)
def test_tables_say_of_every_id_what_a_loop_over_the_labels_says(labels):
    for id_ in [*range(3000), *range(20000, 65536, 7)]:
        own = id_ if id_ < labels.divisor else id_ // labels.divisor
        label = next((x for x in labels.labels if x.id == own), None)
        known = label is not None and (id_ < labels.divisor or label.is_thing)
        assert labels.known[id_] == known
        evaluated = known and label.is_thing and not label.ignored
        assert labels.thing_of_id[id_] == (labels.things.index(label) if evaluated else -1)
    for id_ in range(256):
        label = labels.by_id.get(id_)
        assert labels.train_ids[id_] == (IGNORE if label is None or label.ignored else label.train_id)
    assert [labels.train_ids[id_] for id_ in labels.evaluated_ids] == list(range(len(labels.evaluated)))


@given(st.sampled_from(SETS), st.data())
def test_an_id_says_its_label_and_its_number(labels, data):
    label = data.draw(st.sampled_from([x for x in labels.labels if x.is_thing]))
    number = data.draw(st.integers(0, labels.divisor - 1))
    id_ = labels.instances_of(label)[number]
    assert labels.label_of(id_) == label.id and labels.is_instance(id_) and labels.known[id_]
    ids = np.array([[id_, label.id]], np.uint16)
    assert labels.label_of(ids).tolist() == [[label.id, label.id]] and labels.label_of(ids).dtype == np.uint16
    assert labels.is_instance(ids).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"labels": (*FRUIT.labels, Label(id=3, name="other"))}, "two labels have the id 3"),
        ({"labels": (*FRUIT.labels, Label(id=6, name="plum"))}, "two labels have the name plum"),
        ({"labels": (*FRUIT.labels[:-1], Label(id=5, name="x", train_id=9))}, r"train ids 0, 1, 2, ... once each"),
        ({"labels": FRUIT.labels[:1]}, "train ids"),
        ({"divisor": 30000}, "with divisor 30000 the id of plum must be from 1 to 1, found 3"),
        ({"divisor": 3}, "with divisor 3 the id of plum must be from 1 to 2, found 3"),
        (
            {"labels": (Label(id=0, name="x", train_id=5), *FRUIT.labels[1:])},
            "the id of x must be from 1 to 255, found 0",
        ),
        ({"void": 1}, "void: 1 is not the id of an ignored label"),
        ({"border": (2,)}, "border: 2 is not the id of an ignored label"),
        ({"name": "Fruit of mine"}, "key 'name'"),
    ],
)
def test_what_the_encoding_cannot_hold_is_refused(change, why):
    content = FRUIT.model_dump(mode="json") | change
    content["labels"] = [label if isinstance(label, dict) else label.model_dump() for label in content["labels"]]
    with pytest.raises(HarnessError, match=rf"labels.json: .*{why}"):
        parse(LabelSet, content, "labels.json")


def test_keys_follow_what_decides_a_result_and_say_nothing_of_cityscapes():
    assert labels_key(CITYSCAPES) == labels_key(CITYSCAPES.model_copy(update={"name": "mine"})) == ""
    assert labels_key(FRUIT) == FRUIT.fingerprint != ""
    painted = [label.model_copy(update={"color": (1, 2, 3)}) for label in FRUIT.labels]
    assert FRUIT.model_copy(update={"labels": tuple(painted), "name": "other"}).fingerprint == FRUIT.fingerprint
    renamed = (*FRUIT.labels[:-1], FRUIT.labels[-1].model_copy(update={"name": "lawn"}))
    for change in ({"labels": renamed}, {"divisor": 512}):
        assert FRUIT.model_copy(update=change).fingerprint != FRUIT.fingerprint


def test_a_set_survives_pickle_and_json():
    assert FRUIT.known.any()  # a table is there already, and does not travel
    text = pickle.dumps(FRUIT)
    assert len(text) < 4000
    assert pickle.loads(text) == FRUIT and pickle.loads(text) is pickle.loads(text)
    assert LabelSet.model_validate_json(FRUIT.model_dump_json()) == FRUIT
    with pytest.raises(ValueError, match="read-only"):
        FRUIT.known[0] = False


def test_sets_are_equal_by_their_fields_whatever_was_derived_of_them():
    first, second = (LabelSet.model_validate(FRUIT.model_dump()) for _ in range(2))
    assert first.known.any() and first == second and second == first and hash(first) == hash(second)
    other = second.model_copy(update={"name": "vegetables"})
    assert other.known.any() and first != other and first.fingerprint == other.fingerprint
    assert first != FRUIT.labels
