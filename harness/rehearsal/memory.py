"""This module measures the memory of a training on small crops, extrapolates it, and times steps on a GPU.

Weights, gradients and two moments are counted. What the backward pass needs is measured: bytes of all tensors that the
forward pass saves, on three small batches, and extrapolated in images and pixels. Not here: what kernels take for a
moment, what the allocator leaves unused, and what gradient checkpointing computes again, one block at a time.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harness.core.errors import HarnessError
from harness.data.mix import Stream
from harness.segmenters.loader import Loader
from harness.segmenters.options import Training
from harness.segmenters.training import Trainable, to_device

SIDES = (96, 192)
"""Heights of the small crops; they are twice as wide."""
STEPS = 12
"""Timed on a GPU, after as many that aren't."""


class Memory(NamedTuple):
    """Bytes of a training: `state` is weights, gradients and moments, `saved` what the backward pass needs."""

    state: float
    saved: float

    @property
    def total(self) -> float:
        """The sum of both."""
        return self.state + self.saved


def of_training(network: Trainable[Any], stream: Stream, training: Training) -> Memory:
    """Estimate the memory that training `network` on the options `training` takes; `network` is on the CPU, and
    checkpoints its gradients from then on where they say so.
    """
    network.train()
    if training.gradient_checkpointing:
        network.checkpoint_gradients()
    try:
        return _extrapolated(network, stream, training, least=1)
    except HarnessError:  # norms of pooled maps refuse one image
        return _extrapolated(network, stream, training, least=2)


def _extrapolated(network: Trainable[Any], stream: Stream, training: Training, *, least: int) -> Memory:
    """`least`: images that the network must see at a time."""
    small, large = SIDES
    measured = {}
    for side, images in ((small, least), (large, least), (small, least + 1)):
        batch = _batch(network, stream, training, crop=(side, 2 * side), images=images)
        saved, losses = saved_bytes(network, batch, training.precision)
        measured[side, images] = float(saved)
        if (side, images) == (small, least):
            sum(losses.values(), torch.zeros(())).backward()
            network.zero_grad(set_to_none=True)
        del losses, batch
    pixels = {side: 2 * side * side for side in SIDES}
    a_pixel = (measured[large, least] - measured[small, least]) / least / (pixels[large] - pixels[small])
    an_image = measured[small, least + 1] - measured[small, least] - a_pixel * pixels[small]
    constant = measured[small, least] - least * (an_image + a_pixel * pixels[small])
    height, width = (-(-side // 32) * 32 for side in training.crop)
    together = training.at_a_time
    whole = constant + together * (an_image + a_pixel * height * width)
    return Memory(state=16.0 * sum(parameter.numel() for parameter in network.parameters()), saved=whole)


def saved_bytes(network: nn.Module, batch: Any, precision: str) -> tuple[int, dict[str, Tensor]]:
    """Return bytes that the forward pass keeps for the backward pass, each storage once and the weights not; and the
    losses.

    With another precision than fp32 it runs under bf16 autocast, in which a saved number takes half as much.
    """
    known = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    total = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal total
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            known.add(storage.data_ptr())  # what is saved stays alive, so no other storage gets its place
            total += storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision != "fp32"),
    ):
        losses = network(batch)
    return total, losses


class Speed(NamedTuple):
    """This holds the speed of a training on a GPU: megapixels of crops a second, and its peak memory in bytes."""

    megapixels_a_second: float
    peak: int


def speed(network: Trainable[Any], stream: Stream, training: Training, device: str = "cuda") -> Speed:
    """Train some steps at full crop and batch on a device and time them; data is read as in the training itself."""
    network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6, fused=torch.device(device).type == "cuda")
    loader = Loader(stream, training, network.collate)
    low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(training.precision)

    def step(number: int) -> None:
        batch = to_device(loader.batch(number, 0), torch.device(device))
        with torch.autocast(torch.device(device).type, dtype=low or torch.bfloat16, enabled=low is not None):
            losses = network(batch)
        sum(losses.values(), torch.zeros((), device=device)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    try:
        seconds = _timed(step, device)
    finally:
        loader.close()
    images = STEPS * training.at_a_time
    peak = torch.cuda.max_memory_allocated(device) if torch.device(device).type == "cuda" else 0
    return Speed(images * training.crop[0] * training.crop[1] / 1e6 / seconds, peak)


def _timed(step: Callable[[int], None], device: str) -> float:
    """Return seconds of STEPS steps, after as many to get warm."""
    wait = torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
    for number in range(STEPS):
        step(number)
    wait()
    start = time.perf_counter()
    for number in range(STEPS, 2 * STEPS):
        step(number)
    wait()
    return time.perf_counter() - start


def _batch(network: Trainable[Any], stream: Stream, training: Training, *, crop: tuple[int, int], images: int) -> Any:
    """Return a batch of small crops, of frames that are small in proportion."""
    smaller = {
        "crop": crop,
        "short_sides": [crop[0]],
        "batch_size": images,
        "accumulate": 1,
        "workers": 0,
        "cache_mb": 0,
    }
    return Loader(stream, training.model_copy(update=smaller), network.collate).batch(0, 0)
