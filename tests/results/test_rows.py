"""Rows and their file."""

import pytest

from harness.core.errors import HarnessError
from harness.results.published import published
from harness.results.rows import (
    Row,
    RowFile,
    SeedResult,
    from_json,
    mean_scores,
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
        ('{"format": 99, "rows": []}', "expected a rows file of format 2, found 99"),
        (
            '{"format": 2, "rows": [{"suite": "s", "nmae": "a"}]}',
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
