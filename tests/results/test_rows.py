"""Rows, their file, and the published numbers."""

import json

import pytest

from harness.core.errors import HarnessError
from harness.results.rows import (
    Row,
    RowFile,
    SeedResult,
    from_json,
    mean_scores,
    published,
    published_facts,
    published_row,
    read_rows,
    to_json,
    write_rows,
)


def row(*values: float | None, **more) -> Row:
    seeds = tuple(SeedResult(seed=place, scores={"AP": value}) for place, value in enumerate(values))
    fields = {"suite": "s", "name": "a", "profile": "mini", "method": "A", "seeds": seeds, "scores": mean_scores(seeds)}
    return Row(**{**fields, **more})


def test_a_measurement_is_mean_and_sample_deviation_over_seeds():
    found = row(0.2, 0.3, 0.4).measurement("AP")
    assert (found.mean, found.std, found.n) == (pytest.approx(0.3), pytest.approx(0.1), 3)
    assert row(0.2).measurement("AP").std is None


def test_a_metric_undefined_in_one_seed_has_no_mean():
    found = row(0.2, None).measurement("AP")
    assert (found.mean, found.std, found.n) == (None, None, 0)


def test_a_printed_number_is_one_measurement():
    found = published_row("table1/instsynth/swin-l/gligen").measurement("AP")
    assert (found.mean, found.std, found.n) == (0.3567, None, 1)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"scores": {"AP": 0.31}}, "the mean over its seeds is 0.3"),
        ({"scores": {}, "seeds": ()}, "status 'ok' and no scores"),
        ({"seeds": tuple(SeedResult(seed=seed, scores={"AP": 0.3}) for seed in (1, 0))}, "not ordered and distinct"),
        ({"origin": "guessed"}, "published"),
        ({"scores": {"AP": float("nan")}, "seeds": ()}, "finite"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        row(0.2, 0.4, **change)


def test_a_row_without_a_number_keeps_what_its_seeds_have():
    failed = SeedResult(seed=1, status="failed", error="boom")
    found = row(0.2, status="failed", scores={}, seeds=(*row(0.2).seeds, failed))
    assert found.measurement("AP").mean is None
    assert found.seeds[1].error == "boom"


def test_rows_read_back_equal(tmp_path):
    rows = [row(0.1, 0.2, crop=(128, 256)), *published(1), *published("ablation")]
    write_rows(tmp_path / "deep" / "rows.json", rows)
    assert read_rows(tmp_path / "deep" / "rows.json") == rows
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["rows.json"]
    assert to_json(rows) == to_json(from_json(to_json(rows)))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "rows.json: not JSON"),
        ("[]", "found 'list'"),
        ('{"format": 99, "rows": []}', "expected a rows file of format 1, found 99"),
        (
            '{"format": 1, "rows": [{"suite": "s", "nmae": "a"}]}',
            "unknown key 'rows.0.nmae'|key 'rows.0.name' is missing",
        ),
    ],
)
def test_a_broken_rows_file_is_one_clear_error(tmp_path, text, complaint):
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(HarnessError, match=complaint):
        read_rows(path)


def test_a_missing_rows_file_and_an_unwritable_folder_are_clear_errors(tmp_path):
    with pytest.raises(HarnessError, match="cannot be read"):
        read_rows(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot be written"):
        write_rows(tmp_path / "file" / "rows.json", [row(0.1)])


def test_every_field_of_a_file_says_what_it_is():
    schema = RowFile.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for name, field in model["properties"].items():
            assert "description" in field, f"{model['title']}.{name}"


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
