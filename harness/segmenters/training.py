"""One loop trains all segmenters: accelerate handles device and precision, and everything random derives from (seed,
step).

Step i sees the draws i * batch .. of the stream and its own torch seed, so a run that was killed and resumed ends with
the same weights as one that was not, and the number of loader threads changes nothing. Not here: what is trained
(adapters), on what (mix).
"""

import json
import logging
import math
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from harness.core import shortage
from harness.core.config import parse_json
from harness.core.errors import HarnessError
from harness.core.progress import Report, Stopped, silent
from harness.core.seeds import derive
from harness.data.mix import Stream
from harness.segmenters.base import share
from harness.segmenters.checkpoint import STATE, halved, images_at_a_time, read_state
from harness.segmenters.loader import Batch, Loader
from harness.segmenters.network import InferenceT, Network, Sample
from harness.segmenters.options import Backbone, Training
from harness.segmenters.processes import HalvedError
from harness.weights.tensors import need_disk, replace

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

LOG = "log.jsonl"
_KEPT = {"step", "window", "network", "optimizer", "average", "scaler"}
"""What a state holds."""
_NO_DECAY = ("relative_position_bias_table", "absolute_pos_embed", "position_embeddings", "positional_embedding")
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)

ResultT = TypeVar("ResultT")


class Trainable(Network[Training, InferenceT]):
    """A network that this engine trains."""

    backbone_prefix: str
    """Parameters whose name begins so learn at `backbone_rate` times the rate."""
    filled: frozenset[str] = frozenset()
    """Parameters that a checkpoint of a whole model filled learn at `checkpoint_rate` times the rate."""
    checkpoint_rate = 1.0

    def begin_from(self, names: Iterable[str], backbone: Backbone) -> None:
        """Say that the checkpoint of `backbone` filled the tensors called `names`."""
        self.filled = frozenset(names)
        self.checkpoint_rate = backbone.checkpoint_rate

    @abstractmethod
    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Crops of one size as a batch of CPU tensors (and lists of them); may run in a thread."""

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses of a batch, scalars by name; their sum is minimised."""

    def counts(self, batch: Batch) -> dict[str, float | Tensor]:
        """Return how much a batch counts in the mean that a loss is, by its name; those not named are means of images.

        A batch that is too large for memory goes through in pieces, whose losses are weighed by these.
        """
        return {}

    @property
    def couples(self) -> tuple[str, ...]:
        """Losses that compare images of a batch with each other: the pieces of a batch compare fewer."""
        return ()

    def checkpoint_gradients(self) -> None:
        """Recompute activations in the backward pass instead of keeping them."""
        raise HarnessError(
            f"{type(self).__name__} keeps its activations", hint="leave training.gradient_checkpointing at false"
        )

    def fit(
        self, frames: Stream, validation: Stream | None, training: Training, *, out: Path, report: Report = silent
    ) -> dict[str, Tensor]:
        """See `train`."""
        return train(self, frames, validation, training, out=out, report=report)


def train(
    network: Trainable[Any],
    stream: Stream,
    validation: Stream | None,
    training: Training,
    *,
    out: Path,
    report: Report = silent,
) -> dict[str, Tensor]:
    """Train `network` as `training` says, or go on from the state in `out`; the final weights (CPU or device tensors).

    Writes log.jsonl, tracker files and, every `checkpoint_every` steps, a state to resume from. HarnessError when a
    loss is not finite: with the step, the frames of the batch and the last good state.
    """
    out.mkdir(parents=True, exist_ok=True)
    # Weights and two moments, the last such state beside the one that is written, and the weights that are kept.
    copies = 2 * (3 + (training.ema is not None)) + 1
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    need_disk(out, copies * weights, "the state of this training")
    run = _Run(network, stream, validation, training, out)
    run.resume()
    report(run.step, training.iterations, "")
    while run.step < training.iterations:
        loss = run.advance()
        try:
            report(run.step, training.iterations, f"loss {loss:.3f}")
        except Stopped:
            run.save()
            raise
    run.close()
    return run.weights()


def rate(training: Training, step: int) -> float:
    """Return the factor on the learning rate at a step (0 = first)."""
    if step < training.warmup:
        return (step + 1) / training.warmup
    done = step / training.iterations
    if training.schedule == "poly":
        return (1 - done) ** training.power
    if training.schedule == "step":
        return training.gamma ** sum(done >= share for share in training.milestones)
    return 1.0


def parameter_groups(network: Trainable[Any], training: Training) -> list[dict[str, Any]]:
    """Parameters by (backbone or not, decayed or not, filled by a checkpoint or not), with their rate `base`; norms,
    embeddings and position tables don't decay.
    """
    groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    seen: set[int] = set()
    for prefix, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            full = f"{prefix}.{name}"
            plain = isinstance(module, (*_NORMS, nn.Embedding)) or any(part in full for part in _NO_DECAY)
            kind = full.startswith(network.backbone_prefix), not plain, full in network.filled
            groups.setdefault(kind, []).append(parameter)
    return [
        {
            "params": parameters,
            "base": training.learning_rate
            * (training.backbone_rate if backbone else 1.0)
            * (network.checkpoint_rate if filled else 1.0),
            "weight_decay": training.weight_decay if decayed else 0.0,
        }
        for (backbone, decayed, filled), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


class _Piece(NamedTuple):
    """Images of a part that go through the network together."""

    batch: Batch
    shares: Mapping[str, float | Tensor] = {}
    """Of the piece in the losses of the part, by name."""
    images: float = 1.0
    """Its share in the images of the part, which is that in all other losses."""

    def weighed(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses so that those of all pieces add up to the losses of the part."""
        return {name: value * self.shares.get(name, self.images) for name, value in losses.items()}


class _Run:
    """The state of one training: what a checkpoint holds, and what is needed to take the next step."""

    def __init__(
        self, network: Trainable[Any], stream: Stream, validation: Stream | None, training: Training, out: Path
    ) -> None:
        self.training, self.out, self.seed = training, out, stream.seed
        self.accelerator = _accelerator(training, out)
        if training.gradient_checkpointing:
            network.checkpoint_gradients()
        self.network = network
        optimizer = torch.optim.AdamW(parameter_groups(network, training), lr=training.learning_rate, fused=True)
        self.wrapped, self.optimizer = self.accelerator.prepare(network, optimizer)
        self.average = {k: v.detach().clone() for k, v in network.state_dict().items()} if training.ema else None
        ranks = {"rank": self.accelerator.process_index, "ranks": self.accelerator.num_processes}
        self.loader = Loader(stream, training, network.collate, **ranks)
        self.checks = None
        if validation is not None and training.validate_every:
            self.checks = Loader(validation, _undisturbed(training), network.collate, **ranks)
        self.images = share(training, self.accelerator.num_processes, "this training")
        """How many go through the network at a time."""
        self.norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._NormBase)]
        self.step = 0
        self.window: list[dict[str, float]] = []

    def resume(self) -> None:
        """Load the last state, cut the log back to it, open the trackers."""
        path = self.out / STATE
        state = read_state(path, _KEPT, set_aside=self.accelerator.is_main_process)
        if state is not None:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            self.step, self.window, self.average = (
                state["step"],
                state["window"],
                to_device(state["average"], self.device),
            )
            logger.info("going on from step %d in %s", self.step, path)
        if (images := images_at_a_time(self.out)) is not None and images < self.images:
            self._cut(images, "memory ran out before")
        if self.accelerator.is_main_process:
            self._cut_log()
        # wandb writes where it does by default: its service goes on with its logs when the training has ended.
        run = {"name": self.out.name, "id": self.out.name, "resume": "allow"}
        settings = {"tensorboard": {"purge_step": self.step}, "wandb": run}
        self.accelerator.init_trackers(self.training.project or "harness", init_kwargs=settings)

    @property
    def device(self) -> torch.device:
        """Return where the network is."""
        return self.accelerator.device

    def advance(self) -> float:
        """Take one step; the loss."""
        step, training = self.step, self.training
        factor = rate(training, step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * factor
        losses = self._within_memory(self._gradients)
        if training.grad_clip:
            self.accelerator.clip_grad_norm_(self.network.parameters(), training.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._keep_average()
        losses = self._over_processes(losses)
        self.step += 1
        loss = sum(losses.values())
        self.window.append({"loss": loss, **losses})
        self._log(training.learning_rate * factor)
        if self.step % training.checkpoint_every == 0 and self.step < training.iterations:
            self.save()
        return loss

    def _gradients(self) -> dict[str, float]:
        """Add up the gradients of a step; its losses."""
        torch.manual_seed(derive(self.seed, "step", self.step, self.accelerator.process_index))
        self.wrapped.train()
        losses: dict[str, float] = {}
        accumulate = self.training.accumulate
        for part in range(accumulate):
            for piece in self._pieces(self.loader, self.step, part):
                with self.accelerator.autocast():
                    found = self.wrapped(piece.batch)
                found = piece.weighed(found)
                total: Any = sum(found.values()) / accumulate
                self._check(total, found, self.step, part)
                self.accelerator.backward(total)
                for name, value in found.items():
                    losses[name] = losses.get(name, 0.0) + value.item() / accumulate
        return losses

    def _pieces(self, loader: Loader, step: int, part: int) -> Iterator["_Piece"]:
        """Yield the pieces of a part: one, as long as memory has sufficed."""
        batches = [to_device(batch, self.device) for batch in loader.batches(step, part)]
        if len(batches) == 1:
            yield _Piece(batches[0])
            return
        images, most = len(loader.draws(step, part)), loader.most or 0
        counts = [self.network.counts(batch) for batch in batches]
        for number, (batch, own) in enumerate(zip(batches, counts, strict=True)):
            shares = {name: value / sum(each[name] for each in counts) for name, value in own.items()}
            yield _Piece(batch, shares, min(most, images - number * most) / images)

    def _within_memory(self, work: Callable[[], ResultT]) -> ResultT:
        """Return what `work` returns; where memory runs out, it is done again with half as many images at a time."""
        while True:
            # A forward pass moves the running means of batch norms; those of a try that failed are taken back.
            before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in self.norms]
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not shortage.ran_out(error):
                    raise
            self.optimizer.zero_grad(set_to_none=True)
            for norm, kept in zip(self.norms, before, strict=True):
                for name, buffer in norm.named_buffers():
                    buffer.copy_(kept[name])
            shortage.free()
            self._halve()

    def _halve(self) -> None:
        """Go on with half as many images at a time; processes that share a batch all begin again from the state."""
        if self.images == 1:
            raise shortage.TooLargeError(
                f"step {self.step + 1} of {self.training.iterations}: memory ran out on a single image",
                hint="training.gradient_checkpointing keeps fewer activations, training.crop makes images smaller",
            )
        halved(self.out, self.images // 2)
        if self.accelerator.num_processes > 1:
            raise HalvedError
        self._cut(self.images // 2, f"step {self.step + 1}: memory ran out on {self.images} images")

    def _cut(self, images: int, why: str) -> None:
        """Let so many images through the network at a time, and say so."""
        self.images = images
        for loader in filter(None, (self.loader, self.checks)):
            loader.cut(images)
        said = f"going on with {images} at a time, {self.training.batch_size} a step as before"
        if self.norms:
            said += "; batch norms that learn see that many"
        if self.network.couples:
            said += f"; so does the loss {', '.join(self.network.couples)}, which compares images"
        logger.warning("%s, %s", why, said)

    def weights(self) -> dict[str, Tensor]:
        """The weights to keep: the running mean where there is one."""
        return self.average if self.average is not None else self.network.state_dict()

    def close(self) -> None:
        """Flush the trackers and stop the threads."""
        self.accelerator.end_training()
        for loader in filter(None, (self.loader, self.checks)):
            loader.close()

    def _check(self, total: Tensor, found: Mapping[str, Tensor], step: int, part: int) -> None:
        if math.isfinite(total.item()):
            return
        names = ", ".join(draw.frame.name for draw in self.loader.draws(step, part))
        bad = ", ".join(f"{name} {value.item():g}" for name, value in found.items())
        good = self.out / STATE
        kept = f"the last good state is {good}" if good.is_file() else "no state has been written yet"
        raise HarnessError(
            f"step {step + 1} of {self.training.iterations}: the loss is not finite ({bad}); frames: {names}; {kept}",
            hint="lower training.learning_rate, set training.grad_clip, or look at these frames",
        )

    @torch.no_grad()
    def _keep_average(self) -> None:
        if self.average is None or self.training.ema is None:
            return
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - self.training.ema)
            else:
                self.average[name].copy_(value)

    def _log(self, learning_rate: float) -> None:
        training, last = self.training, self.step == self.training.iterations
        record: dict[str, float] = {}
        if self.step % training.log_every == 0 or last:
            record = {name: float(np.mean([row[name] for row in self.window])) for name in self.window[0]}
            record["lr"] = learning_rate
            self.window.clear()
        if self.checks is not None and (self.step % training.validate_every == 0 or last):
            record |= self._within_memory(partial(self._validate, self.checks))
        if record and self.accelerator.is_main_process:
            self.accelerator.log(record, step=self.step)
            with open(self.out / LOG, "a", encoding="utf-8") as handle:
                handle.write(json.dumps({"step": self.step, **record}) + "\n")

    @torch.no_grad()
    def _validate(self, checks: Loader) -> dict[str, float]:
        self.wrapped.eval()
        torch.manual_seed(derive(self.seed, "validation"))
        rows: list[dict[str, float]] = []
        for number in range(self.training.validate_batches):
            row: dict[str, float] = {}
            for piece in self._pieces(checks, number, 0):
                for name, value in piece.weighed(self.network(piece.batch)).items():
                    row[name] = row.get(name, 0.0) + value.item()
            rows.append(row)
        means = {f"val_{name}": float(np.mean([row[name] for row in rows])) for name in rows[0]}
        means = self._over_processes(means)
        return {"val_loss": sum(means.values()), **means}

    def _over_processes(self, losses: dict[str, float]) -> dict[str, float]:
        """Losses of the whole batch where processes share it."""
        if self.accelerator.num_processes == 1:
            return losses
        values = torch.tensor(list(losses.values()), dtype=torch.float64, device=self.device)
        return dict(zip(losses, self.accelerator.reduce(values, "mean").tolist(), strict=True))

    def save(self) -> None:
        """Write the state from which `resume` goes on."""
        if not self.accelerator.is_main_process:
            return
        state = {
            "step": self.step,
            "window": self.window,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None,
        }
        replace(self.out / STATE, lambda path: torch.save(state, path))

    def _cut_log(self) -> None:
        path = self.out / LOG
        if path.is_file():
            lines = [
                line
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
                if _step_of(line) <= self.step
            ]
            replace(path, lambda new: new.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8"))


def _accelerator(training: Training, out: Path) -> "Accelerator":
    from accelerate import Accelerator, DistributedDataParallelKwargs

    precision = {"fp32": "no"}.get(training.precision, training.precision)
    if precision != "no" and not torch.cuda.is_available():
        logger.info("no accelerator here: computing in fp32 instead of %s", precision)
        precision = "no"
    # Swin's last norm belongs to its classifier: no gradient reaches it.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(
        mixed_precision=precision,
        log_with=list(training.trackers),
        project_dir=out,
        kwargs_handlers=[unused],
        cpu="RANK" in os.environ and not torch.cuda.is_available(),  # else accelerate takes each process for a lone one
    )
    share(training, accelerator.num_processes, "this training")
    return accelerator


def _undisturbed(training: Training) -> Training:
    """Val crops at one scale, neither flipped nor recoloured, so that their loss can be compared between steps."""
    middle = sorted(training.short_sides)[len(training.short_sides) // 2]
    plain = {"flip": 0.0, "colour_jitter": False, "short_sides": [middle], "accumulate": 1, "workers": 0}
    return training.model_copy(update=plain)


def to_device(value: Any, device: torch.device) -> Any:
    """`value` with every tensor in it, in dicts and lists too, on `device`."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {name: to_device(item, device) for name, item in value.items()}
    return [to_device(item, device) for item in value] if isinstance(value, list) else value


def _step_of(line: str) -> float:
    """Return the step of a log line; infinity for one that a kill cut short."""
    try:
        return float(parse_json(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
