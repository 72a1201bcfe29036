"""The command predict runs a trained segmenter on any images."""

import argparse
from pathlib import Path
from typing import Any

from harness.commands.arguments import console, count


def add(commands: Any) -> None:
    """Add the command to the parser."""
    one = commands.add_parser("predict", help="run a trained or public checkpoint on images; files and pictures")
    one.add_argument("images", metavar="IMAGES", help="an image, or a folder of images and folders")
    one.add_argument("--checkpoint", required=True, help="the folder of a training, or a public checkpoint")
    one.add_argument("--segmenter", help="a name of configs/segmenters/*.toml; a training's folder knows its own")
    one.add_argument("--backbone", help="a backbone of that segmenter")
    one.add_argument("--profile", default="", help="whose inference table (default: mini; a public checkpoint: paper)")
    one.add_argument("--output", required=True, metavar="DIR", help="where the answers go; run again, it goes on")
    one.add_argument("--inference", choices=("whole", "sliding"), default="whole")
    one.add_argument("--crop", type=_crop, default=(512, 1024), metavar="HxW", help="window when sliding: 512x1024")
    one.add_argument("--overlap", type=_overlap, default=0.25, help="share of a window when sliding: 0.25")
    one.add_argument("--batch-size", type=count, default=1, help="images, or windows, at a time")
    one.add_argument("--threshold", type=_share, default=0.8, help="least score of an instance that is drawn: 0.8")
    one.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1")
    one.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="on an accelerator")
    one.add_argument("--split", default="val", help="in the name of the panoptic files")
    one.set_defaults(command=_predict)


def _predict(options: argparse.Namespace) -> int:
    from harness.commands.progress_bars import Bar
    from harness.inference import predictor

    todo = predictor.pictures(Path(options.images))
    loaded = predictor.load(options.checkpoint, options.segmenter, options.backbone, options.profile)
    asked = predictor.PredictSettings(
        inference=options.inference,
        crop=options.crop,
        overlap=options.overlap,
        batch_size=options.batch_size,
        threshold=options.threshold,
        device=options.device,
        precision=options.precision,
        split=options.split,
    )
    out = console(stderr=True)
    with Bar(out, "predict") as report:
        tasks = predictor.predict(loaded, todo, Path(options.output), asked, report)
    out.print(f"{len(todo)} images ({', '.join(tasks)}) in {options.output}", markup=False)
    return 0


def _crop(text: str) -> tuple[int, int]:
    try:
        height, width = map(int, text.lower().split("x"))
    except ValueError:
        height = width = 0
    if min(height, width) < 32:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, both at least 32, found {text!r}")
    return height, width


def _share(text: str) -> float:
    return _between(text, 1.0)


def _overlap(text: str) -> float:
    return _between(text, 0.9)


def _between(text: str, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= high:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {high:g}, found {text!r}")
    return value
