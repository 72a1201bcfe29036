"""One loop trains all tiny checkpoints: it has a time budget, an average of the weights, and a state that survives kill
-9.

Every step draws from its own seed, so a resumed run goes on with the draws of an unbroken one. Minutes are CPU
minutes of this process on a CPU (a crowded machine trains as long as an idle one) and wall-clock minutes on a GPU.
"""

import copy
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from harness.core.progress import Report, silent

_log = logging.getLogger(__name__)
_SAVE_EVERY = 60.0
_LOG_EVERY = 50


@dataclass(frozen=True, kw_only=True)
class TimeBudget:
    """This says when a training ends: after `minutes`, or after `steps` if given (then a run can be repeated to the
    bit)."""

    minutes: float
    steps: int | None = None

    def spent(self, seconds: float, step: int) -> float:
        """Return how much is used up, 0..1."""
        used = step / self.steps if self.steps else seconds / (60 * self.minutes)
        return min(used, 1.0)


@dataclass(kw_only=True)
class History:
    """This holds what a card tells about a training."""

    steps: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    """Mean training loss of each 50 steps."""


Trained = TypeVar("Trained", bound=torch.nn.Module)


def fit(
    model: Trained,
    loss_of: Callable[[int], torch.Tensor],
    *,
    budget: TimeBudget,
    state: Path,
    device: str,
    rate: float,
    average: float = 0.998,
    report: Report = silent,
) -> tuple[Trained, History]:
    """Minimise `loss_of(step)` over the trainable weights of `model`; the averaged model and its history.

    AdamW with weight decay 0.01, 100 steps of warm-up, then a cosine to 2 % of `rate` along the budget; gradients
    clipped at norm 1. `state` is the file that a killed run goes on from; it stays, so a longer budget can go on
    from it too.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.01, betas=(0.9, 0.99), fused=device != "cpu")
    mean = copy.deepcopy(model).eval().requires_grad_(False)
    history = _resume(state, model, mean, optimizer)
    clock, saved, recent = _clock(device), history.seconds, []
    before = history.seconds - clock()
    while (share := budget.spent(history.seconds, history.steps)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = (
                rate * min(1.0, (history.steps + 1) / 100) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * share)))
            )
        loss = loss_of(history.steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        _follow(mean, model, min(average, (history.steps + 1) / (history.steps + 10)))
        history.steps += 1
        history.seconds = before + clock()
        recent.append(loss.detach())
        if len(recent) == _LOG_EVERY:
            history.losses.append(float(torch.stack(recent).mean()))
            recent = []
            report(int(1000 * share), 1000, f"step {history.steps}, loss {history.losses[-1]:.4f}")
        if history.seconds - saved > _SAVE_EVERY and not recent:
            _save(state, model, mean, optimizer, history)
            saved = history.seconds
    _save(state, model, mean, optimizer, history)
    return mean, history


def _clock(device: str) -> Callable[[], float]:
    if device == "cpu":
        threads = torch.get_num_threads()
        return lambda: time.process_time() / threads
    return time.monotonic


@torch.no_grad()
def _follow(mean: torch.nn.Module, model: torch.nn.Module, keep: float) -> None:
    targets, sources = list(mean.state_dict().values()), list(model.state_dict().values())
    real = [k for k, target in enumerate(targets) if target.is_floating_point()]
    torch._foreach_lerp_([targets[k] for k in real], [sources[k] for k in real], 1 - keep)
    for k in set(range(len(targets))) - set(real):
        targets[k].copy_(sources[k])


def _save(path: Path, model: Any, mean: Any, optimizer: Any, history: History) -> None:
    part = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"model": model.state_dict(), "mean": mean.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(content | {"history": dict(vars(history))}, part)
    os.replace(part, path)


def _resume(path: Path, model: Any, mean: Any, optimizer: Any) -> History:
    if not path.exists():
        return History()
    device = next(model.parameters()).device
    stored = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(stored["model"])
    mean.load_state_dict(stored["mean"])
    optimizer.load_state_dict(stored["optimizer"])
    _log.info("%s: going on after step %d", path, stored["history"]["steps"])
    return History(**stored["history"])
