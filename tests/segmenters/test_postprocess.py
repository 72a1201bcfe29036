"""Answers from logits: the defects of other post-processing have a test here each."""

import numpy as np
import pytest
import torch

from harness.data.cityscapes import CITYSCAPES
from harness.segmenters import postprocess

EVALUATED, BY_NAME = CITYSCAPES.evaluated, CITYSCAPES.by_name
INDEX = {label.name: k for k, label in enumerate(EVALUATED)}


def logits(*names, sure=10.0):
    classes = torch.zeros(len(names), len(EVALUATED) + 1)
    for query, name in enumerate(names):
        classes[query, INDEX.get(name, len(EVALUATED))] = sure
    return classes


def columns(*spans, width=8):
    masks = torch.full((len(spans), 4, width), -10.0)
    for query, (start, stop) in enumerate(spans):
        masks[query, :, start:stop] = 10.0
    return masks


def test_segment_ids_are_unique_and_stuff_of_a_class_is_one_segment():
    classes, masks = logits("road", "car", "road", "car"), columns((0, 2), (2, 4), (4, 6), (6, 8))
    panorama, segments = postprocess.panoptic(classes, masks, EVALUATED, object_threshold=0.8, overlap_threshold=0.8)
    assert [BY_NAME["road"].id, BY_NAME["car"].id, BY_NAME["car"].id] == [s.label_id for s in segments]
    assert len({s.id for s in segments}) == 3
    assert panorama[0].tolist() == [1, 1, 2, 2, 1, 1, 3, 3]


def test_a_pixel_below_one_half_stays_void():
    masks = columns((0, 4))
    masks[0, :, 4:] = -0.1
    panorama, _ = postprocess.panoptic(logits("sky"), masks, EVALUATED, object_threshold=0.8, overlap_threshold=0.8)
    assert panorama[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


def test_the_half_is_of_the_mask_and_not_of_mask_times_score():
    classes, masks = logits("car", sure=4.0), columns((0, 8)) * 0.06  # score .74, mask .65: the product is .48
    panorama, segments = postprocess.panoptic(classes, masks, EVALUATED, object_threshold=0.5, overlap_threshold=0.8)
    assert len(segments) == 1
    assert panorama.all()


def test_an_overlapped_object_is_dropped_and_no_object_never_wins():
    classes, masks = logits("car", "person", "nothing"), columns((0, 8), (0, 3), (0, 8))
    classes[1, INDEX["person"]] = 20.0
    masks[1, :, :3] = 12.0
    panorama, segments = postprocess.panoptic(classes, masks, EVALUATED, object_threshold=0.8, overlap_threshold=0.8)
    assert [s.label_id for s in segments] == [BY_NAME["person"].id]
    assert panorama[0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


def test_nothing_confident_is_an_empty_map():
    panorama, segments = postprocess.panoptic(
        logits("car", sure=0.0), columns((0, 8)), EVALUATED, object_threshold=0.8, overlap_threshold=0.8
    )
    assert segments == ()
    assert not panorama.any()


def test_instances_are_things_scored_by_class_and_mask():
    classes, masks = logits("car", "road", "person"), columns((0, 4), (0, 8), (2, 6))
    masks[0] *= 0.1
    found = postprocess.instances(classes, masks, EVALUATED, topk=3)
    assert [i.label_id for i in found] == [BY_NAME["person"].id, BY_NAME["car"].id]
    chance = classes[0].softmax(-1)[INDEX["car"]] * torch.tensor(1.0).sigmoid()
    assert found[1].score == pytest.approx(chance.item())
    assert found[1].mask[0].tolist() == [True] * 4 + [False] * 4


def test_instances_may_overlap_and_background_is_nobodys():
    found = postprocess.instances(logits("car", "car"), columns((0, 4), (1, 5)), EVALUATED, topk=2)
    union = np.logical_or(found[0].mask, found[1].mask)
    assert np.logical_and(found[0].mask, found[1].mask).any()
    assert not union[:, 5:].any()


def test_empty_masks_and_low_scores_are_left_out():
    assert postprocess.instances(logits("car"), columns((0, 0)), EVALUATED, topk=5) == []
    assert postprocess.instances(logits("car", sure=0.0), columns((0, 4)), EVALUATED, topk=1, min_score=0.5) == []


def test_semantic_is_the_largest_vote_in_label_ids():
    found = postprocess.elected(postprocess.votes(logits("road", "sky"), columns((0, 3), (3, 8))), EVALUATED)
    assert found.dtype == np.uint8
    assert found[0].tolist() == [7] * 3 + [23] * 5


def test_full_size_cuts_the_padding_off():
    masks = torch.zeros(1, 8, 16)
    masks[0, :, 8:] = 10.0
    grown = postprocess.ImageView(size=(20, 40), shown=(20, 40), padded=(32, 64)).full_size(masks)
    assert grown.shape == (1, 20, 40)
    assert grown[0, 0, 28] < 1 < 9 < grown[0, 0, 36]


def test_full_size_undoes_the_resizing():
    masks = torch.zeros(1, 8, 16)
    masks[0, :, 8:] = 10.0
    grown = postprocess.ImageView(size=(40, 80), shown=(20, 40), padded=(32, 64)).full_size(masks)
    assert grown.shape == (1, 40, 80)
    assert grown[0, 0, 58] < 1 < 9 < grown[0, 0, 72]
