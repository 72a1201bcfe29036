"""The commands synthesize, evaluate, instances, convert and export work on any data, outside of suites."""

import argparse
from pathlib import Path
from typing import Any

from harness.commands.arguments import FORMATS, add_data, console, count, dataset_in, natural
from harness.core.errors import HarnessError


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    one = commands.add_parser("synthesize", help="repaint the instances of any data set")
    one.add_argument("--dataset", required=True, metavar="DIR", help="the data set; it is never written to")
    add_data(one)
    one.add_argument("--output", required=True, metavar="DIR", help="where the new tree goes")
    one.add_argument("--generator", required=True, help="a name of configs/generators/*.toml")
    one.add_argument("--recipe", default="corrected", help="a name of configs/recipes/*.toml")
    one.add_argument("--profile", default="mini", help="which checkpoints and settings the generator takes")
    one.add_argument("--split", default="train")
    one.add_argument("--seed", type=natural, default=0)
    one.add_argument("--top-k", type=count, default=3, help="instances a frame, largest first")
    one.add_argument("--variants", type=count, default=2, help="images an instance")
    one.add_argument("--limit", type=count, help="only the first so many frames")
    one.add_argument("--frames", action="store_true", help="keep the full-frame composites too")
    one.set_defaults(command=_synthesize)

    one = commands.add_parser("evaluate", help="score anybody's predictions as Cityscapes' own scripts do")
    one.add_argument("--data-root", required=True, metavar="DIR", help="the data set with the ground truth")
    add_data(one)
    one.add_argument("--split", default="val")
    one.add_argument("--instances", metavar="DIR", help="<image>.txt with lines `relative/mask.png labelId score`")
    one.add_argument("--semantic", metavar="DIR", help="<image>*.png of label ids")
    one.add_argument("--panoptic", metavar="DIR", help="<labels>_panoptic_<split>.json and the folder beside it")
    one.add_argument("--coco", metavar="FILE", help="COCO results JSON, or a folder as --instances: COCO's mask AP")
    one.add_argument("--metric", action="append", default=[], metavar="NAME", help="a plug-in's metric too; repeatable")
    one.add_argument("--workers", type=count, help="processes (default: one per core)")
    one.add_argument("--format", choices=("table", "json"), default="table")
    one.set_defaults(command=_evaluate)

    one = commands.add_parser(
        "instances", help="instances per class, before and after augmentation (the paper's Table I)"
    )
    one.add_argument("--dataset", required=True, metavar="DIR", help="the data set that was augmented")
    add_data(one)
    one.add_argument("--synthesis", required=True, metavar="DIR", help="the tree of focused crops made from it")
    one.add_argument("--profile", default="mini", help="whose caption the table carries")
    one.add_argument("--split", default="train")
    one.add_argument("--format", choices=FORMATS, default="console")
    one.set_defaults(command=_instances)

    one = commands.add_parser("convert", help="the authors' checkpoint as a folder that a segmenter starts from")
    one.add_argument(
        "network",
        choices=("oneformer", "deeplab2", "panoptic_deeplab"),
        help="whose it is; FastInst's files are read as they are",
    )
    one.add_argument(
        "file",
        metavar="FILE",
        help="oneformer: the .pth of detectron2; deeplab2: what the files of the checkpoint have in common "
        "(ckpt-60000); panoptic_deeplab: the .pth of its author, or the .pkl or .pth of detectron2",
    )
    one.add_argument("--segmenter", metavar="NAME", help="all but oneformer: the part whose network it is")
    one.add_argument("--backbone", metavar="NAME", help="and which of its backbones")
    one.add_argument("--profile", default="paper", help="under which the part has the checkpoint's sizes")
    one.add_argument("--output", required=True, metavar="DIR", help="the new folder: config.json, model.safetensors")
    one.set_defaults(command=_convert)

    one = commands.add_parser("export", help="COCO instance and panoptic JSON of a data set, for other trainers")
    one.add_argument("form", choices=("coco", "detectron2"), help="detectron2: also register.py and maps of train ids")
    one.add_argument("--data-root", metavar="DIR", help="the data set; left out: the synthetic frames alone")
    add_data(one)
    one.add_argument("--synthesis", metavar="DIR", help="the tree of focused crops; its frames follow the real ones")
    one.add_argument("--split", default="train")
    one.add_argument("--masks", choices=("rle", "polygon"), default="rle", help="both are exact")
    one.add_argument("--output", required=True, metavar="DIR", help="where the files go")
    one.set_defaults(command=_export)


def _synthesize(options: argparse.Namespace) -> int:
    from harness.commands.progress_bars import Bar
    from harness.inference.repaint_tree import synthesize

    out = console(stderr=True)
    with Bar(out, f"synthesize {options.generator}") as report:
        facts = synthesize(
            dataset_in(options.dataset, options),
            Path(options.output),
            generator=options.generator,
            recipe=options.recipe,
            profile=options.profile,
            seed=options.seed,
            split=options.split,
            top_k=options.top_k,
            variants=options.variants,
            limit=options.limit,
            frames=options.frames,
            report=report,
        )
    out.print(", ".join(f"{name}: {value}" for name, value in facts.items() if isinstance(value, int | float)))
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from harness.commands.progress_bars import Bar
    from harness.core.environment import cores
    from harness.metrics import evaluation

    kinds = ("instances", "semantic", "panoptic", "coco")
    given = {name: Path(folder) for name in kinds if (folder := getattr(options, name))}
    if not given:
        raise HarnessError("nothing to evaluate", hint="pass --instances, --semantic, --panoptic or --coco")
    with Bar(console(stderr=True), "evaluate") as report:
        found = evaluation.evaluate(
            dataset_in(options.data_root, options),
            options.split,
            instances=given.get("instances"),
            semantic=given.get("semantic"),
            panoptic=given.get("panoptic"),
            coco=given.get("coco"),
            metrics=options.metric,
            workers=options.workers or cores(),
            report=report,
        )
    print(evaluation.render_json(found) if options.format == "json" else evaluation.render_table(found))
    return 0


def _instances(options: argparse.Namespace) -> int:
    from harness.commands.progress_bars import Bar
    from harness.data.tree import Tree
    from harness.planning.suite import load_profile
    from harness.report import print_table, render
    from harness.report.tables import count_instances, instance_table
    from harness.results.published import published_facts

    out = console(stderr=True)
    with Bar(out, "original") as report:
        original = count_instances(dataset_in(options.dataset, options), options.split, report)
    with Bar(out, "augmented") as report:
        added = count_instances(Tree(Path(options.synthesis)), options.split, report)
    augmented = {name: count + added[name] for name, count in original.items()}
    table = instance_table(original, augmented, published_facts().is_cityscapes, load_profile(options.profile))
    if options.format == "console":
        print_table(table, console())
    else:
        print(render(table, options.format))
    return 0


_ADAPTERS = {"deeplab2": ("panoptic_deeplab", "kmax"), "panoptic_deeplab": ("panoptic_deeplab",)}
"""Whose files hold networks of which adapters."""


def _convert(options: argparse.Namespace) -> int:
    facts = _converted(options)
    text = console(stderr=True)
    text.print(", ".join(f"{name}: {value}" for name, value in facts.items()))
    text.print(f"written to {options.output}", soft_wrap=True)
    return 0


def _converted(options: argparse.Namespace) -> dict[str, Any]:
    """Return what a conversion says of what it found."""
    if options.network == "oneformer":
        from harness.segmenters.oneformer.convert import convert

        return convert(options.file, options.output)
    from harness.core.config import parse
    from harness.data.cityscapes import CITYSCAPES
    from harness.planning.suite import load_part
    from harness.segmenters.base import SegmenterPart

    if not (options.segmenter and options.backbone):
        raise HarnessError(
            f"convert {options.network}: --segmenter and --backbone are missing",
            hint="they say which network the checkpoint is of: --segmenter panoptic_deeplab --backbone swidernet, say",
        )
    content, path = load_part("segmenters", options.segmenter, options.profile)
    part = parse(SegmenterPart, content, path)
    if part.adapter not in _ADAPTERS[options.network]:
        raise HarnessError(
            f"convert {options.network}: {path} is a segmenter of adapter {part.adapter!r}, "
            f"expected {' or '.join(map(repr, _ADAPTERS[options.network]))}",
            hint="--segmenter names the part whose network the checkpoint is of: panoptic_deeplab, say",
        )
    if options.network == "deeplab2":
        from harness.segmenters.deeplab2.convert import convert as of_deeplab2

        return of_deeplab2(Path(options.file), part, options.backbone, CITYSCAPES, Path(options.output))
    from harness.segmenters.panoptic_deeplab.convert import convert as of_pytorch

    return of_pytorch(Path(options.file), part, options.backbone, CITYSCAPES, Path(options.output))


def _export(options: argparse.Namespace) -> int:
    from harness.commands.progress_bars import Bar
    from harness.export.coco_json import export

    out = console(stderr=True)
    with Bar(out, f"export {options.form}") as report:
        found = export(
            Path(options.output),
            options.split,
            dataset=dataset_in(options.data_root, options) if options.data_root else None,
            synthesis=Path(options.synthesis) if options.synthesis else None,
            masks=options.masks,
            detectron2=options.form == "detectron2",
            report=report,
        )
    out.print(f"{found.images} images, {found.instances} instances, {found.crowds} crowd regions in {options.output}")
    return 0
