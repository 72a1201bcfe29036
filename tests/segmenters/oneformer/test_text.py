"""Text lists and tokens of OneFormer."""

import numpy as np
import pytest
from sets import FRUIT

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.segmenters.oneformer.text import Words, task_text, texts


def test_a_list_names_every_object_of_its_own_image_and_fills_up():
    assert texts("instance", ["car", "car"], 4) == ["a photo with a car"] * 2 + ["an instance photo"] * 2
    assert texts("panoptic", [], 2) == ["a panoptic photo"] * 2


def test_more_objects_than_room_are_cut():
    assert len(texts("semantic", ["car"] * 9, 4)) == 4


def test_clip_ids_are_those_of_the_published_tokenizer():
    # 49406 = start, 49407 = end; "a photo with a car" as CLIP's BPE has it.
    words = Words.of("clip", CITYSCAPES)
    assert list(words.tokens("a photo with a car")[:8]) == [49406, 320, 1125, 593, 320, 1615, 49407, 0]
    assert list(words.tokens(task_text("panoptic"))[:8]) == [49406, 518, 10549, 533, 1072, 24755, 49407, 0]


@pytest.mark.parametrize("vocabulary", ["clip", "compact"])
def test_every_text_has_its_own_tokens_and_ends_with_the_largest(vocabulary):
    every = [task_text(t) for t in ("instance", "semantic", "panoptic")]
    every += [texts(t, [], 1)[0] for t in ("instance", "semantic", "panoptic")]
    every += [f"a photo with a {label.name}" for label in CITYSCAPES.evaluated]
    words = Words.of(vocabulary, CITYSCAPES)
    rows = np.stack([words.tokens(text) for text in every])
    assert rows.shape == (25, {"clip": 77, "compact": 8}[vocabulary])
    assert len(np.unique(rows, axis=0)) == 25
    assert (rows.max(axis=1) == words.size - 1).all()


def test_classes_of_another_label_set_have_compact_tokens_and_no_clip_ids():
    words = Words.of("compact", FRUIT)
    every = [task_text(task) for task in ("instance", "semantic", "panoptic")]
    every += texts("panoptic", [label.name for label in FRUIT.evaluated], len(FRUIT.evaluated) + 1)
    rows = np.stack([words.tokens(text) for text in every])
    assert len(np.unique(rows, axis=0)) == len(every)
    assert (rows.max(axis=1) == words.size - 1).all()
    assert max((row != 0).sum() for row in rows) == words.length
    with pytest.raises(HarnessError, match="'apple'") as error:
        Words.of("clip", FRUIT).tokens("a photo with a apple")
    assert "compact" in error.value.hint
