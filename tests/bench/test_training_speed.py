"""The engine against the loop one would write with transformers alone: same model, sizes, images and optimizer.

The plain loop calls the model of transformers with ready targets, so its own loss, and its processor is left out (it
would only cost it time); the engine makes its crops, targets and texts within the measured time. Both in one run, on
one thread, as CPU seconds; the printed ratios are what counts. transformers has no FastInst: with it only the engine's
own share of a step is measured.
"""

import importlib.util
import time

import numpy as np
import pytest
import torch
import toy

from harness.data.cityscapes import CITYSCAPES
from harness.data.mix import Mix, Stream
from harness.data.tree import Tree
from harness.segmenters import training as engine
from harness.segmenters.options import Backbone

STEPS, BATCH = 12, 4
MODEL = {"encoder_layers": 1, "decoder_layers": 4, "queries": 28, "points": 1024, "min_pixels": 1}
FASTINST = {"hidden": 64, "layers": 3, "queries": 28, "points": 1024, "min_pixels": 1}
TRAINING = {"iterations": STEPS, "batch_size": BATCH, "crop": [128, 256], "short_sides": [128], "log_every": 4}


@pytest.fixture
def root(tmp_path):
    return toy.tree(tmp_path / "tree", train=8, val=1, size=(128, 256))


def parts(adapter):
    model, backbone = (FASTINST, "resnet") if adapter == "fastinst" else (MODEL, "convnext")
    part = toy.part(adapter, model=model, checkpoint_every=1000, **TRAINING)
    torch.manual_seed(0)
    chosen = Backbone.model_validate(toy.BACKBONES[backbone])
    return part.kind.build(chosen, part.model, CITYSCAPES), part.training


def ours(adapter, root, out):
    """CPU seconds of the engine's steps, and the share of them that is neither network, nor optimizer, nor data."""
    network, table = parts(adapter)
    stream = Stream(labels=CITYSCAPES, real=tuple(Tree(root).frames("train")), synthetic=(), mix=Mix(), seed=0)
    run = engine._Run(network, stream, None, table, out)
    run.resume()
    spent = {"inside": 0.0}

    def timed(call):
        def around(*args, **kwargs):
            start = time.process_time()
            try:
                return call(*args, **kwargs)
            finally:
                spent["inside"] += time.process_time() - start

        return around

    run.advance()  # warm
    run.loader.batch = timed(run.loader.batch)
    run.wrapped.forward = timed(run.wrapped.forward)
    run.accelerator.backward = timed(run.accelerator.backward)
    run.optimizer.step = timed(run.optimizer.step)
    start = time.process_time()
    while run.step < STEPS:
        run.advance()
    whole = time.process_time() - start
    run.close()
    return whole, (whole - spent["inside"]) / whole


def plain(adapter, root):
    """CPU seconds of transformers' model and loss on ready batches, with the same optimizer."""
    name = {"oneformer": "OneFormer", "mask2former": "Mask2Former"}[adapter]
    spec = importlib.util.find_spec(f"transformers.models.{adapter}.modeling_{adapter}")
    shipped = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shipped)  # without the attention that the adapters put there
    network, table = parts(adapter)
    config = network.model.config
    config.update({"train_num_points": MODEL["points"]})
    model = getattr(shipped, f"{name}ForUniversalSegmentation")(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    stream = Stream(labels=CITYSCAPES, real=tuple(Tree(root).frames("train")), synthetic=(), mix=Mix(), seed=0)
    loader = engine.Loader(stream, table, network.collate)
    batches = [_as_transformers(adapter, network, loader.batch(step, 0)) for step in range(STEPS)]
    start = 0.0
    for step, batch in enumerate(batches):
        if step == 1:
            start = time.process_time()
        loss = model(**batch).loss
        loss.sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        np.isfinite(loss.item())
    return time.process_time() - start


def _as_transformers(adapter, network, batch):
    given = {"pixel_values": batch["pixels"], "class_labels": batch["classes"]}
    given["mask_labels"] = [masks.float() for masks in batch["masks"]]
    if adapter == "oneformer":
        given |= {"task_inputs": batch["tasks"].long(), "text_inputs": batch["texts"][batch["text_index"]]}
    return given


@pytest.mark.parametrize("adapter", ["mask2former", "oneformer"])
def test_the_engine_is_as_fast_as_the_plain_loop(benchmark, bar, adapter, root, tmp_path):
    torch.set_num_threads(1)
    found = []

    def once():
        found.append((*ours(adapter, root, tmp_path / f"run{len(found)}"), plain(adapter, root)))

    benchmark.pedantic(once, rounds=3, iterations=1)
    engine_s, overhead, plain_s = (sorted(values)[len(found) // 2] for values in zip(*found, strict=True))
    images = (STEPS - 1) * BATCH
    benchmark.extra_info["images a CPU second, engine with its data"] = round(images / engine_s, 2)
    benchmark.extra_info["images a CPU second, plain loop, targets ready"] = round(images / plain_s, 2)
    bar("engine / plain", plain_s / engine_s, least=1.0)
    bar("overhead, share of a step", overhead, most=0.05)


def test_the_engine_takes_little_of_a_step_of_fastinst(benchmark, bar, root, tmp_path):
    torch.set_num_threads(1)
    found = []

    def once():
        found.append(ours("fastinst", root, tmp_path / f"run{len(found)}"))

    benchmark.pedantic(once, rounds=3, iterations=1)
    seconds, overhead = (sorted(values)[len(found) // 2] for values in zip(*found, strict=True))
    benchmark.extra_info["images a CPU second, engine with its data"] = round((STEPS - 1) * BATCH / seconds, 2)
    bar("overhead, share of a step", overhead, most=0.05)
