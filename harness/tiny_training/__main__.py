"""This module trains the tiny checkpoints again, one command each, on a CPU or a GPU:

    python -m harness.tiny_training diff_inpainting --minutes 30 --device cpu --out DIR

What it needs and DIR lacks (tokenizer, text encoder, autoencoder, for gligen and blended the inpainting UNet) is taken
from the shipped checkpoints; `everything` starts from nothing. Killed at any moment, the same command goes on where it
stopped. DIR gets the layout of harness/weights/tiny: fp16 safetensors, a card and the pictures in it; DIR/work can be
deleted.
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness.core.errors import HarnessError
from harness.tiny_training.training_order import TrainingOrder

PARTS = (
    "text_encoder", "clip", "vae", "judge", "diff_inpainting", "blended", "gligen",
    "oneformer_convnext", "swin", "resnet", "panoptic_deeplab", "axial_l", "axial_xl", "kmax",
)  # fmt: skip
MINUTES = {
    "text_encoder": 2.9,
    "clip": 3.0,
    "vae": 3.0,
    "judge": 2.5,
    "diff_inpainting": 20.0,
    "blended": 20.0,
    "gligen": 16.0,
    "oneformer_convnext": 60.0,
    "swin": 60.0,
    "resnet": 60.0,
    "panoptic_deeplab": 25.0,
    "axial_l": 28.0,
    "axial_xl": 28.0,
    "kmax": 13.0,
}
"""The budgets that the shipped checkpoints were given, in CPU minutes of one core."""
JUDGES = ("clip", "judge")
"""They score what the others make, so they have the next seed, and with it other crops."""

_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Train what the command line asks for; 0, or 2 after one line about bad input."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    for chatty in ("diffusers", "transformers", "httpx"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    options = _parser().parse_args(arguments)
    try:
        for part in PARTS if options.part == "everything" else (options.part,):
            train(_order(part, options))
    except HarnessError as error:
        _log.error("error: %s", error)
        return 2
    return 0


def _order(part: str, options: argparse.Namespace) -> TrainingOrder:
    """Return the order for a part; a seed that is given for one part is that part's, else judges get the next one."""
    alone = options.part != "everything" and options.seed is not None
    return TrainingOrder(
        part=part,
        minutes=MINUTES[part] if options.minutes is None else options.minutes,
        seed=options.seed if alone else (options.seed or 0) + (part in JUDGES),
        **{name: getattr(options, name) for name in ("steps", "device", "crops", "scale", "before", "workers", "out")},
    )


def train(order: TrainingOrder) -> Path:
    """Do one training; the folder of the finished checkpoint. HarnessError for a budget or device that can't be."""
    import torch

    if order.minutes <= 0 or order.crops < 500 or (order.steps is not None and order.steps < 1):
        raise HarnessError("a training needs a budget: minutes > 0, steps >= 1, crops >= 500")
    if order.device.startswith("cuda") and not torch.cuda.is_available():
        raise HarnessError(f"device {order.device!r} is not there", hint="--device cpu")
    from harness.tiny_training import recipes  # imports torch

    return recipes.TRAININGS[order.part](order, throttled(order.part))


def throttled(what: str, every: float = 10.0) -> Callable[[int, int, str], None]:
    """Return a progress report that logs at most once in `every` seconds."""
    last = 0.0

    def report(done: int, total: int, note: str = "") -> None:
        nonlocal last
        if done == total or time.monotonic() - last > every:
            last = time.monotonic()
            _log.info("%s %3.0f %% %s", what, 100 * done / total, note)

    return report


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.tiny_training", description="train a tiny checkpoint again"
    )
    parser.add_argument("part", choices=(*PARTS, "everything"))
    parser.add_argument("--minutes", type=float, help="budget; CPU minutes on a CPU, wall-clock on a GPU")
    parser.add_argument("--steps", type=int, help="budget in steps instead: repeats to the bit on one machine")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--seed", type=int, help="default 0, for the judges (clip, judge) 1")
    parser.add_argument("--crops", type=int, default=12000, help="crops of the pool to learn from")
    parser.add_argument("--scale", type=int, default=1, help="so many times larger batches; a GPU wants 16")
    parser.add_argument("--before", type=Path, metavar="DIR", help="a whole segmenter goes on from that one")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw crops")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
