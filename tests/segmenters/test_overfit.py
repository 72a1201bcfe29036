"""Each segmenter fits four images, and one whose ids lie over the wrong images does not: minutes, so slow."""

import numpy as np
import pytest
import toy

from harness.data.cityscapes import write_frame
from harness.evaluation import evaluate
from harness.progress import silent
from harness.stages import predict, train

SETTINGS = {
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


def shuffled(root):
    """A tree of the same images, each with the ids of the next one."""
    scenes = [toy.scene(number) for number in range(4)]
    for number, (image, _) in enumerate(scenes):
        wrong = scenes[(number + 1) % 4][1]
        write_frame(root, "train", "toy", f"toy_{number:06d}_000019", image, wrong)
    return root


def ap50(adapter, trained_on, scored_on, out, iterations=250):
    part = toy.part(adapter, model=SETTINGS[adapter], iterations=iterations, **PLAIN)
    train.run(
        train.TrainSpec(segmenter=part, backbone="convnext", seed=0), {"dataset": trained_on}, out / "train", silent
    )
    spec = predict.PredictSpec(segmenter=part, backbone="convnext", split="train")
    predict.run(spec, {"dataset": scored_on, "train": out / "train"}, out / "predict", silent)
    return evaluate(scored_on, "train", instances=out / "predict" / "instances").scores["AP50"]


@pytest.mark.slow
@pytest.mark.parametrize("adapter", sorted(SETTINGS))
def test_four_images_are_fitted_and_shuffled_labels_are_not(adapter, tmp_path):
    root = toy.tree(tmp_path / "tree", train=4, val=1)
    fitted = ap50(adapter, root, root, tmp_path / "fitted")
    wrong = ap50(adapter, shuffled(tmp_path / "shuffled"), root, tmp_path / "wrong")
    assert fitted > 0.8
    assert np.nan_to_num(wrong) < 0.5 * fitted
