"""Polygons and panoptic pictures become ids as the official scripts make them."""

import json

import numpy as np
import pytest
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
from sets import FRUIT

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.data.coco_panoptic import ids_of, panoptic
from harness.data.polygons import read_polygons

NAMES = ("road", "sky", "car", "person", "cargroup", "license plate", "caravan", "static", "bicycle", "rider")


def annotation(rng, count=40, size=(60, 90)):
    height, width = size
    objects = []
    for number in range(count):
        corners = rng.integers(-5, max(size) + 5, (int(rng.integers(3, 9)), 2)).tolist()
        objects.append({"label": str(rng.choice(NAMES)), "polygon": corners})
        if number % 7 == 0:
            objects[-1]["deleted"] = 1
    return {"imgHeight": height, "imgWidth": width, "objects": objects}


@pytest.mark.parametrize("seed", range(8))
def test_polygons_are_drawn_as_by_the_official_script(seed, tmp_path):
    content = annotation(np.random.default_rng(seed))
    path = tmp_path / "a_polygons.json"
    path.write_text(json.dumps(content))
    official = Annotation()
    official.fromJsonFile(str(path))
    expected = np.asarray(createInstanceImage(official, "ids"))
    found = read_polygons(path, CITYSCAPES)
    assert len(np.unique(expected)) > 5 and np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "not a polygon file"),
        ('{"imgHeight": 3, "imgWidth": 3}', "not a polygon file"),
        ('{"imgHeight": 3, "imgWidth": 0, "objects": []}', "no image has 0 x 3"),
        ('{"imgHeight": 3, "imgWidth": 3, "objects": [{"label": "carr", "polygon": []}]}', "no label 'carr'"),
        ('{"imgHeight": 3, "imgWidth": 3, "objects": [{"label": "car", "polygon": [[1]]}]}', "polygon of a car"),
        ('{"imgHeight": 3, "imgWidth": 3, "objects": [{"label": "car", "polygon": 7}]}', "polygon of a car"),
        ("nonsense", "not a readable polygon file"),
    ],
)
def test_a_bad_polygon_file_is_one_message(content, message, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(HarnessError, match=message) as told:
        read_polygons(path, CITYSCAPES)
    assert str(path) in told.value.message


@pytest.mark.parametrize("labels", [CITYSCAPES, FRUIT], ids=lambda one: one.name)
def test_a_panoptic_picture_gives_back_the_ids_it_was_made_of(labels):
    things = [label for label in labels.labels if label.is_thing and not label.ignored]
    stuff = [label for label in labels.evaluated if not label.is_thing]
    ids = np.full((40, 60), stuff[0].id, np.int32)
    ids[:10] = stuff[1].id
    for number, label in enumerate((things[0], things[0], things[1])):
        ids[12:20, 20 * number : 20 * number + 10] = labels.divisor * label.id + (number if number < 2 else 0)
    ids[30:34, :9] = things[0].id  # a group
    ids[38:] = labels.void
    picture, segments = panoptic(ids, labels)
    color = picture.astype(np.int32)
    assert np.array_equal(ids_of(color[..., 0] + 256 * color[..., 1], segments, labels, "x"), ids)


def test_a_panoptic_list_that_does_not_fit_the_picture_is_told():
    segments = np.array([[1, 2]])
    with pytest.raises(HarnessError, match="segment 2 of the picture"):
        ids_of(segments, [{"id": 1, "category_id": 26}], CITYSCAPES, "p.png")
    with pytest.raises(HarnessError, match=r"p.png: segment 1 is of category 99"):
        ids_of(segments, [{"id": 1, "category_id": 99}], CITYSCAPES, "p.png")
