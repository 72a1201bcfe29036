"""The stage: predictions and a dataset in, scores and statistics out, the same bytes after an interruption."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from harness.core.errors import HarnessError
from harness.core.progress import silent
from harness.data.tree import Tree
from harness.stages import evaluate
from harness.stages.evaluate import EvaluateSpec

NAME = "aachen_000000_000001"


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    truth, semantic = tmp_path / "root" / "gtFine" / "val" / "aachen", tmp_path / "p" / "semantic"
    truth.mkdir(parents=True)
    semantic.mkdir(parents=True)
    ids = np.full((20, 30), 7, np.uint16)
    ids[5:15, 5:20] = 26000
    Image.fromarray(ids).save(truth / f"{NAME}_gtFine_instanceIds.png")
    Image.fromarray(np.full((20, 30), 7, np.uint8)).save(semantic / f"{NAME}_pred_labelIds.png")
    return {"dataset": Tree(tmp_path / "root"), "predict": tmp_path / "p"}


def test_facts_and_files(inputs, tmp_path):
    facts = evaluate.run(EvaluateSpec(), inputs, tmp_path / "out", silent)
    assert facts["scores"]["IoU"] == pytest.approx(0.375) and facts["scores"]["AP"] is None
    assert facts["n_images"] == 1 and facts["signature"].startswith("IoU:cityscapes-2|")
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["IoU"] == facts["scores"]["IoU"]
    json.dumps(facts, allow_nan=False)


def test_again_after_an_interruption_gives_the_same_bytes(inputs, tmp_path):
    evaluate.run(EvaluateSpec(), inputs, tmp_path / "whole", silent)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / ".statistics.npz.part").write_bytes(b"half of it")
    (tmp_path / "half" / "statistics.npz").write_bytes(b"old")
    evaluate.run(EvaluateSpec(), inputs, tmp_path / "half", silent)
    whole, half = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("whole", "half"))
    assert whole == half


def test_a_folder_without_predictions_is_an_error(inputs, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarnessError, match="no predictions"):
        evaluate.run(EvaluateSpec(), inputs | {"predict": tmp_path / "empty"}, tmp_path / "out", silent)
    assert not (tmp_path / "out").exists()


def test_the_specification_is_strict():
    assert EvaluateSpec().model_dump() == {"split": "val", "workers": 1, "coco": False}
    for wrong in ({"workers": 0}, {"workers": "2"}, {"splits": "val"}):
        with pytest.raises(ValidationError):
            EvaluateSpec(**wrong)
