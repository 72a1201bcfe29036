"""The published numbers are those that the papers print."""

import json

import pytest

from harness.core.errors import HarnessError
from harness.results.published import published, published_facts, published_row


def test_a_printed_number_is_one_measurement():
    found = published_row("table1/instsynth/swin-l/gligen").measurement("AP")
    assert (found.mean, found.std, found.n) == (0.3567, None, 1)


def test_published_numbers_are_as_printed():
    one = {found.name: found for found in published(1)}
    assert len(one) == 12
    assert len(published("table2")) == 7
    assert one["table1/instsynth/mapillary-convnext-l/blendeddiff"].scores == {
        "PQ": 0.6333,
        "IoU": 0.8088,
        "AP": 0.3893,
        "AP50": 0.6491,
    }
    assert one["table1/cmt-deeplab/max-s"].scores["AP"] is None
    assert [found.origin for found in one.values()] == ["published"] * 4 + ["reproduced"] * 2 + ["published"] * 6
    assert sum(found.mark == "†" for found in one.values()) == 4
    quality = published_row("ablation/gligen").scores
    assert (quality["FID"], quality["FID_poster"]) == (40.65, 125.51)
    facts = published_facts()
    assert sum(count.original for name, count in facts.is_cityscapes.items() if name != "total") == 52106
    # The paper's augmented column doesn't add up to its printed total; both stay as printed.
    augmented = {name: count.augmented for name, count in facts.is_cityscapes.items()}
    assert augmented.pop("total") == 217035
    assert sum(augmented.values()) == 217035
    assert facts.training["iterations"] == 90000


def test_every_printed_segmentation_row_has_a_source_and_a_distinct_name():
    rows = [*published(1), *published(2), *published("ablation")]
    assert len({found.name for found in rows}) == len(rows)
    assert all("MAPR 2024" in found.source for found in rows)


def test_an_unknown_published_table_or_row_names_near_ones():
    with pytest.raises(HarnessError, match="ablation"):
        published("ablations")
    with pytest.raises(HarnessError, match="did you mean 'table1/instsynth/swin-l/gligen'"):
        published_row("table1/instsynth/swin-l/gligan")


def test_fractions_keep_the_printed_digits():
    printed = json.dumps([value for found in published(1) for value in found.scores.values()])
    assert all(len(number.split(".")[1]) <= 4 for number in printed.strip("[]").split(", ") if number != "null")
