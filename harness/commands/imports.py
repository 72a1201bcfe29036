"""The commands import-images and import-predictions make parts of what lies in a folder; dataset draws the frames that
images are made from."""

import argparse
from pathlib import Path
from typing import Any

from harness.commands.arguments import console


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    one = commands.add_parser("import-images", help="make a generator of images or crops that lie in a folder")
    one.add_argument("folder", metavar="DIR", help="the images, or the crops, or a tree of frames")
    one.add_argument("--name", required=True, help="what the generator is to be called: configs/generators/NAME.toml")
    one.add_argument("--label", default="", help="its name in tables (default: NAME)")
    one.add_argument("--images", default="", metavar="PATTERN", help='whole images: "{source}_{variant}.png"')
    one.add_argument(
        "--labels",
        choices=("source", "ids", "polygons", "panoptic"),
        help="what annotates them; source: their frames do",
    )
    one.add_argument("--label-files", default="", metavar="PATTERN", help="the files that annotate, as --images")
    one.add_argument("--segments", default="", metavar="FILE", help="of panoptic PNGs: the JSON, below DIR")
    one.add_argument("--crops", default="", metavar="PATTERN", help='square crops: "{source}_{instance}_{variant}.png"')
    one.add_argument(
        "--window", choices=("focused", "frame"), default="", help="of crops: what becomes a training image"
    )
    _about_data(one)
    one.set_defaults(command=_import_images)

    one = commands.add_parser("import-predictions", help="make a segmenter of predictions that lie in a folder")
    one.add_argument(
        "folder", metavar="DIR", help="a run, or runs in folders 0, 1, ...; {generator} and {backbone} stand for names"
    )
    one.add_argument("--name", required=True, help="what it is to be called: configs/segmenters/NAME.toml")
    one.add_argument("--label", default="", help="its name in tables (default: NAME)")
    one.add_argument("--backbone", action="append", default=[], metavar="LABEL", help="as printed; repeatable")
    one.add_argument("--instances", default="", metavar="PATH", help="below a run: <frame>*.txt, or a COCO result JSON")
    one.add_argument("--semantic", default="", metavar="PATH", help="below a run: <frame>*.png")
    one.add_argument("--panoptic", default="", metavar="PATH", help="below a run: the folder of the panoptic JSON")
    one.add_argument(
        "--category", action="append", default=[], type=_category, metavar="ID=NAME", help="what an id of theirs means"
    )
    _about_data(one)
    one.set_defaults(command=_import_predictions)

    one = commands.add_parser("dataset", help="draw the data set of a profile into a folder, to make images from")
    one.add_argument("--profile", default="mini", help="whose data set (default: mini)")
    one.add_argument(
        "--output", required=True, metavar="DIR", help="where the tree goes; the same command goes on there"
    )
    one.set_defaults(command=_dataset)


def _about_data(one: argparse.ArgumentParser) -> None:
    one.add_argument("--profile", default="mini", help="whose data set the frames are of (default: mini)")
    one.add_argument("--data-root", metavar="DIR", help="that data set, where it is one on disk")
    one.add_argument("--replace", action="store_true", help="write over a part of this name")


def _category(text: str) -> tuple[str, str]:
    id_, equals, name = text.partition("=")
    if not equals or not id_.strip().isdigit() or not name.strip():
        raise argparse.ArgumentTypeError(f"expected an id and a name, as 0=person, found {text!r}")
    return id_.strip(), name.strip()


def _import_images(options: argparse.Namespace) -> int:
    from harness.planning.new_part import dataset_of, new_generator

    made = new_generator(
        Path(options.folder),
        options.name,
        dataset=dataset_of(options.profile, Path(options.data_root) if options.data_root else None),
        options={key: getattr(options, key) for key in ("images", "labels", "label_files", "segments", "crops")},
        label=options.label,
        window=options.window,
        replace=options.replace,
    )
    out = console(stderr=True)
    out.print(made.stock.text, soft_wrap=True)
    for key in ("crops", "images", "labels", "label_files"):
        if key in made.options:
            out.print(f"  {key}: {made.options[key]}", soft_wrap=True)
    source, instances = next(iter(made.stock.files.items()))
    instance, files = next(iter(instances.items()))
    out.print(f"  {files[0]} is of frame {source}{f', instance {instance}' if instance else ''}", soft_wrap=True)
    out.print(f"written to {made.path}; a row of it: harness run table1 --with {options.name}", soft_wrap=True)
    return 0


def _import_predictions(options: argparse.Namespace) -> int:
    from harness.planning.new_part import dataset_of, new_segmenter

    made = new_segmenter(
        options.folder,
        options.name,
        dataset=dataset_of(options.profile, Path(options.data_root) if options.data_root else None),
        model={
            **{key: getattr(options, key) for key in ("instances", "semantic", "panoptic")},
            "categories": dict(options.category),
        },
        label=options.label,
        backbones=options.backbone,
        replace=options.replace,
    )
    out = console(stderr=True)
    for (generator, backbone, seed), folder in made.runs.items():
        out.print(f"  seed {seed}, {backbone} on {generator}: {folder}", soft_wrap=True)
    out.print(f"written to {made.path}; rows of it: harness run table1 --with {options.name}", soft_wrap=True)
    return 0


def _dataset(options: argparse.Namespace) -> int:
    from harness.commands.progress_bars import Bar
    from harness.planning.new_part import draw_dataset

    out = console(stderr=True)
    with Bar(out, f"frames of profile {options.profile}") as report:
        part = draw_dataset(options.profile, Path(options.output), report)
    out.print(f"{part.label} of profile {options.profile} is in {options.output}", soft_wrap=True)
    return 0
