"""The command that trains a checkpoint again: bad orders are one line, parts are found where they are."""

import pytest

from harness.core.errors import HarnessError
from harness.tiny_training import __main__ as command
from harness.tiny_training import training_order
from harness.tiny_training.__main__ import main
from harness.tiny_training.training_order import need


@pytest.mark.parametrize("bad", [["--minutes", "0"], ["--minutes", "-3"], ["--steps", "0"], ["--crops", "10"]])
def test_a_budget_that_is_none_is_refused(bad, tmp_path, caplog):
    assert main(["vae", *bad, "--out", str(tmp_path / "out")]) == 2
    assert "needs a budget" in caplog.text
    assert not (tmp_path / "out").exists()


def test_a_gpu_that_is_not_there_is_named(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["vae", "--device", "cuda", "--out", str(tmp_path)]) == 2
    assert "'cuda' is not there" in caplog.text


def test_a_part_is_taken_from_the_folder_before_the_shipped_one(tmp_path, monkeypatch):
    shipped, out = tmp_path / "tiny", tmp_path / "out"
    for folder in (shipped / "vae", out / "vae", shipped / "clip"):
        folder.mkdir(parents=True)
        (folder / "whose").write_text(folder.parent.name)
    monkeypatch.setattr(training_order, "TINY", shipped)
    assert (need(out, "vae") / "whose").read_text() == "out"
    assert (need(out, "clip") / "whose").read_text() == "tiny"
    with pytest.raises(HarnessError, match="has no judge, and none is shipped"):
        need(out, "judge")


@pytest.mark.parametrize(
    ("arguments", "seeds"),
    [
        (["clip"], {"clip": 1}),
        (["text_encoder"], {"text_encoder": 0}),
        (["clip", "--seed", "7"], {"clip": 7}),
        (["everything"], {part: int(part in command.JUDGES) for part in command.PARTS}),
        (["everything", "--seed", "4"], {part: 4 + (part in command.JUDGES) for part in command.PARTS}),
    ],
)
def test_judges_have_another_seed_than_what_they_judge(arguments, seeds, tmp_path, monkeypatch):
    orders = []
    monkeypatch.setattr(command, "train", orders.append)
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    assert {order.part: order.seed for order in orders} == seeds
