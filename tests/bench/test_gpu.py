"""Throughput and memory on a GPU, at published sizes and random weights; results under results/gpu/<device>/.

`make gpu` runs it (minutes; some 8 GB of disk for a while). The functions that measure (gpu_speed.py, gpu_models.py)
are run here on the processor with tiny sizes, so that they don't rot where there is no GPU.
"""

import json
import math
from dataclasses import replace
from pathlib import Path

import gpu_speed
import pytest
import torch
import toy
from gpu_models import PAINTERS, SD15, SDXL, TRAINEES, save_random

from harness.core.paths import REPOSITORY
from harness.segmenters.network import Sample

GPU = "cuda"
RESULTS = REPOSITORY / "results" / "gpu"
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")

PAINTING = (
    "Networks of published size at random weights, settings of the profile paper. Reference: diffusers' own pipeline, "
    "one crop a call. times alone: against it in the same precision; times alone fp32: against it in fp32, which is a "
    "pipeline's default. Differences are between the pictures of batch and reference, in 0..255."
)
TRAINING = (
    "Forward and backward of one ready batch of 4 crops of 360 x 720, without optimizer and data; networks of "
    "published size at random weights, settings of the profile paper. Reference: fp32 eager in the same run. Memory: "
    "weights, gradients and activations."
)


def crops(count: int, size: tuple[int, int], things: int) -> list[Sample]:
    scenes = [toy.scene(seed, size=size, things=things) for seed in range(count)]
    return [Sample(name=f"{k}", image=image, ids=ids, seed=k) for k, (image, ids) in enumerate(scenes)]


def modern() -> bool:
    """Whether it is the GPU that the bars were set for."""
    return torch.cuda.get_device_capability()[0] >= 9


@gpu
@pytest.mark.slow
@pytest.mark.parametrize("painter", PAINTERS, ids=[painter.name for painter in PAINTERS])
def test_generators_on_a_gpu(painter, tmp_path) -> None:
    rows = []
    folder = save_random(painter, tmp_path / painter.part, device=GPU, dtype=torch.float16)
    for row in gpu_speed.paint_speeds(painter, folder, GPU, precisions=("bf16", "fp16"), compiled=True):
        rows.append(row)
        gpu_speed.write(RESULTS, "synthesis", PAINTING, rows, GPU)
    ours = [row for row in rows if row["way"] != gpu_speed.ALONE]
    assert max(row["times_alone"] for row in ours) > 1
    assert max(row["times_alone_fp32"] for row in ours) >= (5 if modern() else 1)


@gpu
@pytest.mark.slow
@pytest.mark.parametrize("trainee", TRAINEES, ids=[trainee.name for trainee in TRAINEES])
def test_training_on_a_gpu(trainee) -> None:
    rows = []
    for row in gpu_speed.train_speeds(trainee, crops(4, (360, 720), 20), GPU):
        rows.append(row)
        gpu_speed.write(RESULTS, "training", TRAINING, rows, GPU)
    assert all(math.isfinite(row["loss"]) for row in rows)
    assert rows[-1]["times_fp32"] >= (2 if modern() else 1)


TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
SMALL = {
    "sample_size": 8,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 2,
    "norm_num_groups": 4,
}
SMALL_SDXL = {
    "transformer_layers_per_block": (1, 1),
    "cross_attention_dim": 32,
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 16 + 6 * 8,
}


def small(painter, unet):
    return replace(
        painter,
        unet=painter.unet | SMALL | unet,
        texts=(TEXT,) * len(painter.texts),
        vae={"block_out_channels": (8, 8), "norm_num_groups": 2},
        batch=3,
        alone=2,
        options={"size": 16, "steps": 2, "strength": 1.0},
    )


@pytest.mark.parametrize(
    "painter",
    [small(SD15, {"cross_attention_dim": 16}), small(SDXL, SMALL_SDXL)],
    ids=["sd15", "sdxl"],
)
def test_what_times_generators_works_on_a_processor(painter, tmp_path) -> None:
    folder = save_random(painter, tmp_path / "checkpoint", device="cpu", dtype=torch.float32)
    alone, batched = gpu_speed.paint_speeds(painter, folder, "cpu", precisions=("fp32",), compiled=False)
    assert [alone["way"], batched["way"]] == ["one crop a call", "3 crops a call"]
    assert alone["times_alone"] == 1.0
    assert batched["times_alone"] == pytest.approx(alone["seconds_a_crop"] / batched["seconds_a_crop"])
    assert batched["largest_difference"] <= 2, "batch and reference paint the same pictures"
    check_files(tmp_path / "gpu", "synthesis", [alone, batched])


@pytest.mark.parametrize("number", range(len(TRAINEES)), ids=[trainee.name for trainee in TRAINEES])
def test_what_times_segmenters_works_on_a_processor(number, tmp_path) -> None:
    sizes = {
        "swin": {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2], "window_size": 4},
        "convnext": {"hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1]},
        "resnet50": {"embedding_size": 8, "hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1]},
    }
    model = {"hidden": 64, "queries": 20, "points": 64}
    trainee = replace(TRAINEES[number], config=sizes[TRAINEES[number].backbone], model=model)
    full, low = gpu_speed.train_speeds(trainee, crops(2, (64, 96), 3), "cpu", rounds=1)
    assert [full["precision"], low["precision"]] == ["fp32", "bf16"]
    assert full["times_fp32"] == 1.0
    assert low["images_a_second"] / full["images_a_second"] == pytest.approx(low["times_fp32"])
    assert low["loss"] == pytest.approx(full["loss"], rel=0.2)
    check_files(tmp_path, "training", [full, low])


def check_files(root: Path, name: str, rows: list[dict]) -> None:
    gpu_speed.write(root, name, "Another note.", [{"model": "of another run"}], "cpu")
    gpu_speed.write(root, name, "A note.", [{"model": "another"}], "cpu")
    gpu_speed.write(root, name, "A note.", rows[:1], "cpu")
    folder = gpu_speed.write(root, name, "A note.", rows, "cpu")
    assert folder.parent == root
    rows = [{"model": "another"}, *rows]
    found = json.loads((folder / f"{name}.json").read_text())
    assert found["rows"] == rows
    assert found["device"] == gpu_speed.device_name("cpu")
    lines = (folder / f"{name}.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(rows)
    assert len({line.count("|") for line in table}) == 1
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.json", f"{name}.md"]


def test_sizes_are_the_published_ones() -> None:
    """Millions of weights: UNets as Stability and RunwayML count them, backbones as timm does."""
    from diffusers import UNet2DConditionModel
    from transformers import AutoBackbone

    from harness.segmenters.backbones import backbone_config

    with torch.device("meta"):
        unets = [UNet2DConditionModel(**painter.unet) for painter in PAINTERS]
        backbones = [AutoBackbone.from_config(backbone_config(trainee.extractor)) for trainee in TRAINEES]
    millions = [sum(p.numel() for p in network.parameters()) / 1e6 for network in (*unets, *backbones)]
    assert millions == pytest.approx([859.5, 2567.5, 195.0, 196.2, 23.5, 23.5], rel=2e-3)
