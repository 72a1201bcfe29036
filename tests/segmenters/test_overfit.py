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
    "panoptic_deeplab": {},
    "kmax": {},
}
# Heads that start at 0.01 and see 16 channels need larger steps.
RATES = {"panoptic_deeplab": 6e-3}
SYSTEMS = [
    ("mask2former", "convnext"),
    ("oneformer", "convnext"),
    ("panoptic_deeplab", "deeplab"),
    ("panoptic_deeplab", "axial"),
    ("kmax", "deeplab"),
]
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


def ap50(adapter, backbone, root, out, mix, iterations=250):
    training = PLAIN | ({"learning_rate": RATES[adapter]} if adapter in RATES else {})
    part = toy.part(adapter, model=SETTINGS[adapter], iterations=iterations, **training)
    spec = train.TrainSpec(segmenter=part, backbone=backbone, mix=mix, seed=0)
    train.run(spec, {"dataset": Tree(root)}, out / "train", silent)
    spec = predict.PredictSpec(segmenter=part, backbone=backbone, split="train")
    predict.run(spec, {"dataset": Tree(root), "train": out / "train"}, out / "predict", silent)
    return evaluate(Tree(root), "train", instances=out / "predict" / "instances").scores["AP50"]


@pytest.mark.slow
@pytest.mark.parametrize(("adapter", "backbone"), SYSTEMS)
def test_four_images_are_fitted_and_shuffled_labels_are_not(adapter, backbone, tmp_path):
    root = toy.tree(tmp_path / "tree", train=4, val=1)
    fitted = ap50(adapter, backbone, root, tmp_path / "fitted", Mix())
    wrong = ap50(adapter, backbone, root, tmp_path / "wrong", Mix(labels="shuffled"))
    assert fitted > 0.8
    assert np.nan_to_num(wrong) < 0.5 * fitted
