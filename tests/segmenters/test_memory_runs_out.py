"""A training whose GPU is too small: fewer images go through at a time, and it learns what it would have learnt."""

import json
import logging
import os

import pytest
import torch
import toy
from torch.optim.optimizer import register_optimizer_step_pre_hook

from harness.core.errors import HarnessError
from harness.core.progress import silent
from harness.data.cityscapes import CITYSCAPES
from harness.data.mix import Mix, Stream
from harness.data.tree import Tree
from harness.segmenters import processes
from harness.segmenters.checkpoint import MEMORY, images_at_a_time, read
from harness.segmenters.training import LOG, train
from harness.stages import train as stage

EVERY_CELL = {"points": 0, "min_pixels": 1}
"""Masks are compared at every cell: the loss of a batch then depends on nothing that is drawn for the whole of it."""
MODELS = {
    "mask2former": ("convnext", EVERY_CELL | {"semantic_weight": 1.0}),
    "oneformer": ("convnext", EVERY_CELL | {"text_contrastive": False}),
    "fastinst": ("resnet", EVERY_CELL | {"semantic_weight": 0.5}),
    "panoptic_deeplab": ("deeplab", {}),
    "kmax": ("deeplab", {"samples": 100_000}),
}
BATCH = 5
LIMIT = "HARNESS_TEST_LIMIT"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return toy.tree(tmp_path_factory.mktemp("tree"), things=4)


def stream(root, split="train"):
    return Stream(labels=CITYSCAPES, real=tuple(Tree(root).frames(split)), synthetic=(), mix=Mix(), seed=0)


def limited(network, most, *, while_training=True):
    """The network, whose memory holds so many images; it runs out in the middle of a forward pass."""
    network.asked = []
    plain = network.forward

    def forward(batch):
        losses = plain(batch)
        network.asked.append(len(batch["pixels"]))
        if network.asked[-1] > most and network.training == while_training:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses

    network.forward = forward
    return network


def build(adapter, *, freeze=True):
    backbone, model = MODELS[adapter]
    torch.manual_seed(0)
    network = toy.part(adapter, model=model).build(backbone, CITYSCAPES)
    for module in network.modules() if freeze else ():
        if isinstance(module, torch.nn.modules.batchnorm._NormBase):
            # A norm over the batch sees fewer images whatever is done: let it see none.
            module.eval()
            module.train = lambda mode=True, module=module: module
    return network


def training(adapter, **changes):
    changes = {"iterations": 3, "batch_size": BATCH, "checkpoint_every": 1, "log_every": 1} | changes
    return toy.part(adapter, **changes).training


def weights_after(network, root, out, options, validation=None, report=silent):
    found = train(network, stream(root), validation, options, out=out, report=report)
    return {name: value.clone() for name, value in found.items() if value.is_floating_point()}


def length(vectors):
    return torch.stack([vector.square().sum() for vector in vectors]).sum().sqrt()


def assert_close(found, expected, start):
    """As good as equal, measured by how far the training went: Adam makes a large step of a small gradient's error."""
    far = length(expected[name] - start[name] for name in expected)
    assert far > 1e-2
    assert length(expected[name] - found[name] for name in expected) < 1e-2 * far


@pytest.mark.parametrize("adapter", MODELS)
def test_the_gradients_of_the_pieces_are_those_of_the_batch(adapter, root, tmp_path):
    found = []
    for most in (BATCH, 2):
        network = limited(build(adapter), most)
        gradients = {}

        def keep(optimizer, arguments, keywords, network=network, gradients=gradients):
            named = network.named_parameters()
            gradients.update({name: each.grad.clone() for name, each in named if each.grad is not None})

        handle = register_optimizer_step_pre_hook(keep)
        try:
            weights_after(network, root, tmp_path / str(most), training(adapter, iterations=1))
        finally:
            handle.remove()
        loss = json.loads((tmp_path / str(most) / LOG).read_text())
        found.append((gradients, {name: value for name, value in loss.items() if name != "lr"}))
    (whole, losses), (gradients, own) = found
    assert own == pytest.approx(losses, rel=2e-5, abs=1e-6)
    assert set(gradients) == set(whole)
    # kMaX assigns pixels to the nearest centre, which a rounding error may turn.
    assert length(gradients[name] - whole[name] for name in whole) < 2e-3 * length(whole.values())


def test_it_goes_on_with_fewer_at_a_time_and_says_so(root, tmp_path, caplog):
    whole = build("mask2former")
    start = {name: value.clone() for name, value in whole.state_dict().items()}
    expected = weights_after(whole, root, tmp_path / "whole", training("mask2former"))
    small = limited(build("mask2former"), 2)
    with caplog.at_level(logging.WARNING):
        found = weights_after(small, root, tmp_path / "small", training("mask2former"))
    assert small.asked == [5, *(2, 2, 1) * 3]
    assert "memory ran out on 5 images, going on with 2 at a time, 5 a step as before" in caplog.text
    assert_close(found, expected, start)


def test_a_resumed_training_keeps_what_fits(root, tmp_path, caplog):
    class KilledError(Exception):
        pass

    def report(done, total, note):
        if done == 2:
            raise KilledError

    whole = weights_after(limited(build("mask2former"), 2), root, tmp_path / "whole", training("mask2former"))
    with pytest.raises(KilledError):
        weights_after(limited(build("mask2former"), 2), root, tmp_path / "parts", training("mask2former"), None, report)
    assert images_at_a_time(tmp_path / "parts") == 2
    caplog.clear()
    resumed = limited(build("mask2former"), 2)
    found = weights_after(resumed, root, tmp_path / "parts", training("mask2former"))
    assert resumed.asked == [2, 2, 1], "it does not run out again"
    assert "going on with 2 at a time" in caplog.text
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_batch_norms_keep_nothing_of_the_try_that_failed(root, tmp_path):
    network = limited(build("panoptic_deeplab", freeze=False), 2)
    weights_after(network, root, tmp_path, training("panoptic_deeplab", iterations=1, batch_size=4))
    assert network.asked == [4, 2, 2]
    counts = {value.item() for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    assert counts == {2}, "two pieces, and nothing of the whole"


def test_the_text_loss_of_oneformer_is_said_to_compare_fewer(root, tmp_path, caplog):
    network = limited(toy.part("oneformer").build("convnext", CITYSCAPES), 1)
    weights_after(network, root, tmp_path, training("oneformer", iterations=1, batch_size=2))
    assert "so does the loss text, which compares images" in caplog.text


def test_the_loss_on_val_frames_is_the_same_in_pieces(root, tmp_path):
    rows = []
    for most in (3, 1):
        network = limited(build("mask2former"), most, while_training=False)
        options = training("mask2former", iterations=1, batch_size=3, validate_every=1)
        weights_after(network, root, tmp_path / str(most), options, stream(root, "val"))
        rows.append(json.loads((tmp_path / str(most) / LOG).read_text()))
    assert {"val_loss", "val_mask"} <= set(rows[0])
    assert rows[1] == pytest.approx(rows[0], rel=2e-5)


def test_a_single_image_that_is_too_large_is_told(root, tmp_path):
    network = limited(build("mask2former"), 0)
    with pytest.raises(HarnessError, match="step 1 of 3: memory ran out on a single image") as caught:
        weights_after(network, root, tmp_path, training("mask2former"))
    assert "gradient_checkpointing" in caught.value.hint


def test_another_error_stays_what_it_is(root, tmp_path):
    network = build("mask2former")

    def broken(batch):
        raise RuntimeError("shapes cannot be multiplied")

    network.forward = broken
    with pytest.raises(RuntimeError, match="shapes"):
        weights_after(network, root, tmp_path, training("mask2former"))
    assert not (tmp_path / MEMORY).exists()


def go(task, report):
    """Train on this device; that of the second process holds fewer images."""
    root, out = task
    second = os.environ.get("RANK") == "1"
    network = limited(build("mask2former"), 1 if second else 9)
    train(network, stream(root), None, training("mask2former", batch_size=4), out=out, report=report)


def test_devices_that_share_a_batch_all_take_less_when_one_runs_out(root, tmp_path):
    weights_after(build("mask2former"), root, tmp_path / "one", training("mask2former", batch_size=4))
    processes.run(2, go, (root, tmp_path / "two"), silent)
    one, two = ([json.loads(x) for x in (tmp_path / name / LOG).read_text().splitlines()] for name in ("one", "two"))
    assert images_at_a_time(tmp_path / "two") == 1
    # A rank's class loss is a mean of its own, as without pieces.
    assert [row["mask"] for row in two] == pytest.approx([row["mask"] for row in one], rel=2e-2)


def test_the_record_of_the_training_names_what_fitted(root, tmp_path, monkeypatch):
    spec = stage.TrainSpec(segmenter=toy.part("mask2former", iterations=1), backbone="convnext", seed=0)
    build_plain = type(spec.segmenter).build
    monkeypatch.setattr(type(spec.segmenter), "build", lambda *given: limited(build_plain(*given), 1))
    facts = stage.run(spec, {"dataset": Tree(root)}, tmp_path, silent)
    assert facts["images_at_a_time"] == 1 and facts["batch_size"] == 2
    assert read(tmp_path).facts == facts
    assert not (tmp_path / MEMORY).exists()
