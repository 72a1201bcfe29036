"""`harness check` on evaluated predictions: a worse run is caught and named, honest reruns pass, nothing is exit 3."""

import json
from pathlib import Path

import pytest
from evaluated_store import FOUND, SUITE, cars, run

from harness.cli import main
from harness.core.paths import REPOSITORY
from harness.core.store import Store
from harness.planning.plan import make_plan


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return cars(tmp_path_factory.mktemp("tree"))


def check(*options: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["check", *options])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def baseline(tree, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("baseline")
    path = str(folder / "b.json")
    assert check(*run(tree, folder, seeds=[0], found=FOUND), "--baseline", path, "--accept", "--reason", "first") == 0
    return path


def test_a_deliberately_worse_run_is_caught_with_its_row_and_interval(tree, tmp_path, baseline, capsys):
    options = run(tree, tmp_path, seeds=[1], found=FOUND / 2)
    assert check(*options, "--baseline", baseline, "--annotations", "--junit", str(tmp_path / "c.xml")) == 1
    said = capsys.readouterr().out
    assert "WORSE" in said and "none/oneformer/convnext" in said
    (line,) = [line for line in said.splitlines() if line.startswith("::error") and line.split("::")[1].endswith(" AP")]
    assert "interval" in line
    assert 'failures="2"' in (tmp_path / "c.xml").read_text()  # AP and AP50


def test_five_honest_reruns_with_other_seeds_raise_no_alarm(tree, tmp_path, baseline):
    for seed in range(1, 6):
        folder = tmp_path / str(seed)
        assert check(*run(tree, folder, seeds=[seed], found=FOUND), "--baseline", baseline) == 0


def test_accepting_again_says_what_changed_with_the_intervals_of_what_it_replaces(tree, tmp_path, capsys):
    options = ["--baseline", str(tmp_path / "b.json"), "--accept", "--reason", "r"]
    assert check(*run(tree, tmp_path / "one", seeds=[0], found=FOUND), *options) == 0
    capsys.readouterr()
    assert check(*run(tree, tmp_path / "two", seeds=[1], found=FOUND), *options) == 0
    assert "resampling" in capsys.readouterr().out
    assert len(list((tmp_path / "statistics").iterdir())) == 1


def test_image_quality_is_accepted_without_statistics_and_checked_by_stated_tolerances(tmp_path, capsys):
    suite = tmp_path / "quality.toml"
    suite.write_text(
        'title = "t"\nquestion = "q"\nkind = "image_quality"\n[[rows]]\nmethod = "Control"\ngenerator = "recolor"\n'
    )
    (final,) = make_plan(str(suite), "smoke").rows[0].finals.values()

    def measured(folder: Path, ssim: float) -> list[str]:
        store = Store(folder)
        store.open()
        partial = store.partial(final.kind, final.key)
        partial.mkdir(parents=True)
        scores = {"CLIPScore": 0.8, "CLIPScore_text": 1.1, "SSIM": ssim, "PSNR": 20.0, "FID": None}
        (partial / "scores.json").write_text(json.dumps(scores))
        environment = {"commit": "0" * 40, "dirty": False}
        store.commit(
            final.kind, final.key, {"facts": {"wall_s": 1.0}, "peak_memory_bytes": 2**20, "environment": environment}
        )
        return [str(suite), "--profile", "smoke", "--store", str(folder), "--baseline", str(tmp_path / "b.json")]

    assert check(*measured(tmp_path / "one", 0.9), "--accept", "--reason", "first") == 0
    assert not (tmp_path / "statistics").exists()
    assert check(*measured(tmp_path / "two", 0.895)) == 0
    assert "4 same" in capsys.readouterr().out
    assert check(*measured(tmp_path / "three", 0.7)) == 1


def test_an_empty_run_and_a_baseline_that_is_not_there_yet_are_not_fine(tree, tmp_path, baseline, capsys):
    (tmp_path / "one.toml").write_text(SUITE.format(seeds=[0]))
    empty = [str(tmp_path / "one.toml"), "--profile", "smoke", "--store", str(tmp_path / "store")]
    assert check(*empty, "--baseline", baseline) == 3
    assert check(*empty) == 3
    assert "nothing to compare with" in capsys.readouterr().err
    assert check(*empty, "--baseline", str(tmp_path / "typo.json")) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.toml"]


def test_a_suite_of_ones_own_that_is_called_like_ours_does_not_touch_our_baseline(tree, tmp_path, capsys):
    options = run(tree, tmp_path, seeds=[0], found=FOUND)
    mine = tmp_path / "elsewhere" / "table1.toml"
    mine.parent.mkdir()
    mine.write_text(Path(options[0]).read_text())
    before = {path: path.read_bytes() for path in (REPOSITORY / "results").glob("*.md")}
    assert check(str(mine), *options[1:], "--accept", "--reason", "a slip") == 2
    assert "--baseline" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in before}
