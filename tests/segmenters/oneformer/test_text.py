"""Text lists and tokens of OneFormer."""

import numpy as np
import pytest

from harness.data.cityscapes import EVALUATED
from harness.segmenters.oneformer.text import LENGTHS, SIZES, task_text, texts, tokens


def test_a_list_names_every_object_of_its_own_image_and_fills_up():
    assert texts("instance", ["car", "car"], 4) == ["a photo with a car"] * 2 + ["an instance photo"] * 2
    assert texts("panoptic", [], 2) == ["a panoptic photo"] * 2


def test_more_objects_than_room_are_cut():
    assert len(texts("semantic", ["car"] * 9, 4)) == 4


def test_clip_ids_are_those_of_the_published_tokenizer():
    # 49406 = start, 49407 = end; "a photo with a car" as CLIP's BPE has it.
    assert list(tokens("a photo with a car", "clip")[:8]) == [49406, 320, 1125, 593, 320, 1615, 49407, 0]
    assert list(tokens(task_text("panoptic"), "clip")[:8]) == [49406, 518, 10549, 533, 1072, 24755, 49407, 0]


@pytest.mark.parametrize("vocabulary", ["clip", "compact"])
def test_every_text_has_its_own_tokens_and_ends_with_the_largest(vocabulary):
    every = [task_text(t) for t in ("instance", "semantic", "panoptic")]
    every += [texts(t, [], 1)[0] for t in ("instance", "semantic", "panoptic")]
    every += [f"a photo with a {label.name}" for label in EVALUATED]
    rows = np.stack([tokens(text, vocabulary) for text in every])
    assert rows.shape == (25, LENGTHS[vocabulary])
    assert len(np.unique(rows, axis=0)) == 25
    assert (rows.max(axis=1) == SIZES[vocabulary] - 1).all()
