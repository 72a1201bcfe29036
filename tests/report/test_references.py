"""Every part that is shipped is cited, or is the harness's own."""

import re

import pytest

from harness.planning.changes import Changes
from harness.planning.plan import make_plan
from harness.planning.suite import load_part, names
from harness.report.references import FILE, cited, references


def test_the_file_is_bibtex():
    text = FILE.read_text(encoding="utf-8")
    assert text.count("@") == len(references()) and text.count("{") == text.count("}")
    keys = [one.key for one in references()]
    assert len(set(keys)) == len(keys)
    for one in references():
        assert one.used, one.key
        assert "used" not in one.text and one.text.count("{") == one.text.count("}"), one.key
        for field in ("title", "author", "year"):
            assert re.search(rf"^  {field} = \{{.+\}},$", one.text, re.MULTILINE), (one.key, field)


def test_every_part_that_is_shipped_has_an_entry_and_every_entry_a_part():
    shipped = {f"{kind}/{name}" for kind in ("datasets", "generators", "segmenters") for name in names(kind)}
    given = {
        f"{kind}/{name}"
        for kind in ("generators", "segmenters")
        for name in names(kind)
        if load_part(kind, name, "mini")[0]["adapter"] in ("folder", "predictions")
    }
    used = {part for one in references() for part in one.used}
    assert shipped - used - given == set()
    assert {part for part in used if part.startswith(("datasets/", "generators/", "segmenters/"))} <= shipped


@pytest.mark.parametrize(
    ("suite", "keys", "absent"),
    [
        ("table1", {"harness", "nguyen2024instsynth", "li2023gligen", "jain2023oneformer"}, "he2023fastinst"),
        ("table2", {"he2023fastinst", "kirillov2019panoptic"}, "jain2023oneformer"),
        ("ablation", {"heusel2017fid", "li2023gligen"}, "kirillov2019panoptic"),
        ("mixing", {"trabucco2024dafusion"}, "he2023fastinst"),
    ],
)
def test_a_suite_cites_its_parts_and_no_others(suite, keys, absent):
    found = {one.key for one in cited(make_plan(suite, "mini")).references}
    assert keys <= found and absent not in found


def test_rows_that_are_left_out_are_not_cited():
    plan = make_plan("table1", "mini", changes=Changes(without=("gligen",)))
    assert "li2023gligen" not in {one.key for one in cited(plan).references}
    assert cited(plan).unknown == []
