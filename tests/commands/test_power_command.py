"""`harness power`: seeds and images for an effect from accepted spreads, and one clear error where none is known."""

from pathlib import Path

import pytest

from harness.cli import main
from harness.planning.plan import make_plan
from harness.results.gains import MAIN
from harness.results.spread import NetworkSpread


@pytest.fixture
def accepted(monkeypatch) -> None:
    """One spread that is known of the network of `controls`."""
    known = NetworkSpread(
        segmenter="oneformer",
        backbone="ConvNeXt (mini)",
        data=make_plan("controls", "mini").dataset.key,
        metric=MAIN,
        n_images=100,
        images=4e-6,
        images_freedom=90.0,
        mixed=1e-6,
        seeds=5e-5,
        seeds_freedom=16,
    )
    monkeypatch.setattr("harness.results.projection.accepted_spreads", lambda plan: iter([known]))


def power(*arguments: str, store: Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["power", *arguments, "--store", str(store)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_table_is_printed_and_the_picture_written(accepted, tmp_path, capsys):
    page = tmp_path / "deep" / "power.html"
    assert power("controls", "--effect", "2", "--output", str(page), store=tmp_path / "none") == 0
    printed = capsys.readouterr().out
    assert "as planned" in printed and "for 2.00 AP" in printed
    assert "Half-width of the 95 % interval" in page.read_text()


def test_the_plan_has_the_smallest_effect_behind_the_last_step_of_a_row(accepted, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["plan", "controls", "--store", str(tmp_path / "none")])
    lines = [line for line in capsys.readouterr().out.splitlines() if " AP" in line]
    rows = [row for row in make_plan("controls", "mini").rows if "shuffled" not in row.arm.name]
    assert len(lines) == sum(len(row.finals) for row in rows) > 0 and all(line.startswith("evaluate") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("ablation",), "trains nothing"),
        (("controls", "--effect", "0"), "expected a number between 0 and 100, found '0'"),
        (("controls", "--power", "1.5"), "expected a number between 0.05 and 1, found '1.5'"),
        (("table2",), "nothing is known of the spread of any network of suite 'table2'"),
    ],
)
def test_what_cannot_be_answered_is_one_clear_error(accepted, tmp_path, capsys, arguments, complaint):
    assert power(*arguments, store=tmp_path / "none") == 2
    assert complaint in capsys.readouterr().err
