"""A wheel works without a clone: in an empty folder, with parts of that folder beside those that it ships."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness.core.paths import REPOSITORY

pytestmark = pytest.mark.slow

SOURCE = ("harness", "configs", "suites", "results/published", "results/baselines")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CITATION.cff", "constraints.txt")


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this work tree, built from a copy of it."""
    root = tmp_path_factory.mktemp("source") / "harness"
    for name in SOURCE:
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(REPOSITORY / name, root / name)
    out = tmp_path_factory.mktemp("dist")
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", out, root)
    (found,) = out.glob("harness-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A function that runs `harness` of the wheel, and of nothing else, in a folder."""
    site = tmp_path_factory.mktemp("site")
    pip("install", "--quiet", "--no-deps", "--target", site, wheel)
    kept = {k: v for k, v in os.environ.items() if k not in ("CITYSCAPES_DATASET", "HARNESS_STORE")}
    variables = kept | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def harness(folder: Path, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "harness", *arguments],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    where = [sys.executable, "-P", "-c", "import harness; print(harness.__file__)"]
    done = subprocess.run(where, cwd=site, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(site)), "the wheel is what is tested"
    return harness


def test_the_wheel_holds_what_is_shipped_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for kind in ("suites", "configs", "results/published", "results/baselines"):
        there = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / kind).rglob("*") if path.is_file()}
        assert {f"harness/_home/{name}" for name in there} <= set(names), kind
    assert not [name for name in names if name.startswith("tests") or "__pycache__" in name]
    assert "harness/report/references.bib" in names and "harness/report/page.html.j2" in names


def test_list_and_plan_work_in_an_empty_folder_and_write_nothing(installed, tmp_path):
    found = json.loads(installed(tmp_path, "list", "--json"))
    shipped = {path.stem for path in (REPOSITORY / "suites").glob("*.toml")}
    assert {one["name"] for one in found if one["kind"] == "suite"} == shipped
    plan = json.loads(installed(tmp_path, "plan", "table1", "--json"))
    assert plan["store"] == str(tmp_path / "results" / "store")
    assert installed(tmp_path, "leaderboard", "--check", code=1)
    assert not [*tmp_path.iterdir()]


def test_keys_are_those_of_a_clone(installed, tmp_path):
    from harness.planning.plan import make_plan

    plan = json.loads(installed(tmp_path, "plan", "table1", "--json"))
    assert {step["key"] for step in plan["steps"]} == make_plan("table1", "mini").steps().keys()


def test_parts_and_suites_of_the_folder_come_first(installed, tmp_path):
    (tmp_path / "configs" / "generators").mkdir(parents=True)
    (tmp_path / "configs" / "generators" / "mine.toml").write_text('label = "Mine"\nadapter = "identity"\n')
    (tmp_path / "configs" / "generators" / "recolor.toml").write_text('label = "Ours"\nadapter = "identity"\n')
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "small.toml").write_text(
        'title = "t"\nquestion = "q"\n[[rows]]\nmethod = "m"\ngenerator = ["mine", "focus"]\n'
        'segmenter = "oneformer"\nbackbone = "swin"\n'
    )
    found = {(one["kind"], one["name"]): one["label"] for one in json.loads(installed(tmp_path, "list", "--json"))}
    assert found["generator", "mine"] == "Mine" and found["generator", "recolor"] == "Ours"
    assert found["suite", "small"] == "t" and found["control", "focus"] == "Focused crop only"
    names = [row["name"] for row in json.loads(installed(tmp_path, "plan", "small", "--json"))["rows"]]
    assert names == ["mine/oneformer/swin", "focus/oneformer/swin"]
    assert "did you mean 'small'" in installed(tmp_path, "plan", "smal", code=2)


def test_a_run_ends_with_a_report_and_its_own_images_can_join(installed, tmp_path):
    told = installed(tmp_path, "run", "table1", "--only", "none,focus,convnext", "--profile", "smoke")
    assert "Measured here, profile smoke" in told
    assert (tmp_path / "results/reports/table1-only-none-focus-convnext-smoke/report.html").is_file()
    installed(tmp_path, "dataset", "--profile", "smoke", "--output", "streets")
    installed(tmp_path, "import-images", "streets", "--name", "again", "--profile", "smoke")
    assert (tmp_path / "configs/generators/again.toml").is_file()
    told = installed(tmp_path, "plan", "table1", "--with", "again", "--only", "again,convnext", "--profile", "smoke")
    assert "8 images of 8 frames" in told
    told = installed(
        tmp_path, "check", "table1", "--only", "none,convnext", "--profile", "smoke", "--accept", "--reason", "r"
    )
    assert (tmp_path / "results/baselines/table1-smoke.json").is_file() and "new" in told
