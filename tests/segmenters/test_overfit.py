"""Each segmenter fits four images, and one with shuffled labels does not: minutes, so slow."""

import numpy as np
import pytest
import toy

from harness.core.progress import silent
from harness.data.mix import Mix
from harness.data.tree import Tree
from harness.metrics.evaluation import evaluate
from harness.stages import predict, train

SETTINGS = {
    "mask2former": {"located": True, "semantic_weight": 5.0, "points": 0, "decoder_layers": 3},
    "oneformer": {"located": True, "semantic_weight": 5.0, "points": 0, "tasks": ["panoptic"]},
}
PLAIN = {
    "batch_size": 4,
    "short_sides": [64],
    "flip": 0.0,
    "colour_jitter": False,
    "learning_rate": 2e-3,
    "warmup": 10,
    "grad_clip": 5.0,
    "log_every": 20,
    "checkpoint_every": 1000,
}


def ap50(adapter, root, out, mix, iterations=250):
    part = toy.part(adapter, model=SETTINGS[adapter], iterations=iterations, **PLAIN)
    spec = train.TrainSpec(segmenter=part, backbone="convnext", mix=mix, seed=0)
    train.run(spec, {"dataset": Tree(root)}, out / "train", silent)
    spec = predict.PredictSpec(segmenter=part, backbone="convnext", split="train")
    predict.run(spec, {"dataset": Tree(root), "train": out / "train"}, out / "predict", silent)
    return evaluate(Tree(root), "train", instances=out / "predict" / "instances").scores["AP50"]


@pytest.mark.slow
@pytest.mark.parametrize("adapter", sorted(SETTINGS))
def test_four_images_are_fitted_and_shuffled_labels_are_not(adapter, tmp_path):
    root = toy.tree(tmp_path / "tree", train=4, val=1)
    fitted = ap50(adapter, root, tmp_path / "fitted", Mix())
    wrong = ap50(adapter, root, tmp_path / "wrong", Mix(labels="shuffled"))
    assert fitted > 0.8
    assert np.nan_to_num(wrong) < 0.5 * fitted
