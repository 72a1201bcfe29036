"""The oracle paints what was asked for, where it was asked for, and only what streets drew."""

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.core.progress import silent
from harness.data.base import open_dataset
from harness.data.streets.adapter import StreetsPart
from harness.data.streets.palette import COLOURS
from harness.data.streets.repaint import repainted
from harness.data.streets.scene import draw_plan
from harness.data.tree import Tree
from harness.generators.base import GeneratorPart, Place, Prompt
from harness.planning.suite import load_part
from harness.stages.synthesize import SynthesisSpec, run
from harness.synthesis.items import items_of, load
from harness.synthesis.manifest import read_manifest
from harness.synthesis.recipe import Recipe
from harness.tiny_training.denoiser import grown
from harness.tiny_training.judge import colour_shares


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    content = {"label": "streets", "adapter": "streets", "size": [128, 256], "zoom": 2.1, "featured": 4}
    part = parse(StreetsPart, content | {"counts": {"train": 6}}, "test")
    dataset = open_dataset(part, tmp_path_factory.mktemp("streets"))
    dataset.make(silent)
    return dataset


def part_of(kind, name):
    data, path = load_part({GeneratorPart: "generators", Recipe: "recipes"}[kind], name, "mini")
    return parse(kind, data, path)


def items(dataset):
    for frame in dataset.frames("train"):
        how = {"recipe": part_of(Recipe, "corrected"), "seed": 0, "top_k": 3, "variants": 1}
        yield from items_of(load(frame), dataset.labels, **how)


def place_of(item, dataset):
    return Place(
        dataset=dataset,
        frame=item.picture.frame,
        instance=item.instance.id,
        label=item.instance.label,
        square=tuple(item.square),
    )


def painted(dataset, item, text):
    place = place_of(item, dataset)
    prompt = Prompt(text=text, phrase=item.instance.label.name, label_id=item.instance.label.id)
    oracle = part_of(GeneratorPart, "oracle").build()
    (image,) = oracle.edit_placed([item.real], [item.mask], [prompt], [item.seed], [place])
    return image


def test_colours_are_those_of_the_prompt(streets):
    """By the share of pixels that a person would call so, against the real crop."""
    gained = []
    for item in items(streets):
        colour = item.prompt.text.split()[-2]
        if colour not in COLOURS or item.mask.sum() < 150:
            continue
        before = colour_shares(item.real, item.mask)[colour]
        gained.append(colour_shares(painted(streets, item, item.prompt.text), item.mask)[colour] - before)
    assert len(gained) >= 6
    assert np.mean(gained) > 0.25


def test_the_silhouette_stays_and_nothing_else_moves(streets):
    for item in list(items(streets))[:8]:
        plan = repainted(streets.plan_of(item.picture.frame), item.instance.id, words=["red"], seed=3)
        scene = draw_plan(plan)
        assert np.array_equal(scene.instance_ids, item.picture.ids)
        silhouette = torch.from_numpy(item.picture.ids == item.instance.id)[None]
        rim = grown(grown(silhouette))[0].numpy()  # as far as the camera's softness reaches
        moved = (scene.image[~rim] != item.picture.image[~rim]).any(1)
        assert moved.mean() < 0.01, "but for what is seen through a wheel or a fence"
        inside = silhouette[0].numpy()
        assert (scene.image[inside] != item.picture.image[inside]).any(1).mean() > 0.2


def _ids(plan):
    from harness.data.streets.scene import thing_ids

    return thing_ids(plan)


def test_a_figure_of_the_other_kind_covers_the_old_one(streets):
    """No pixel of the old silhouette shows what stands behind."""
    found = 0
    for item in items(streets):
        kinds = {"person": ("woman", "man"), "rider": ("female", "male")}.get(item.instance.label.name)
        if kinds is None:
            continue
        plan = streets.plan_of(item.picture.frame)
        old = plan.things[_ids(plan).index(item.instance.id)].kind
        other = next(kind for kind in kinds if kind != old)
        scene = draw_plan(repainted(plan, item.instance.id, words=[other], seed=1))
        silhouette = item.picture.ids == item.instance.id
        assert (scene.instance_ids[silhouette] == item.instance.id).all()
        assert not np.array_equal(scene.image[silhouette], item.picture.image[silhouette])
        found += 1
    assert found


def test_it_goes_the_way_of_every_generator(streets, tmp_path):
    spec = SynthesisSpec(generator=part_of(GeneratorPart, "oracle"), recipe=part_of(Recipe, "corrected"), limit=2)
    facts = run(spec, {"dataset": streets}, tmp_path / "out", silent)
    entries = read_manifest(tmp_path / "out")
    assert facts["images"] == len(entries) == len(list(Tree(tmp_path / "out").frames("train"))) >= 6
    assert all(entry.window and entry.zoom for entry in entries), "zoomed as others are"


def test_a_frame_that_streets_did_not_draw_is_refused(streets):
    item = next(iter(items(streets)))
    place = place_of(item, Tree(streets.root))
    oracle = part_of(GeneratorPart, "oracle").build()
    with pytest.raises(HarnessError, match="no data set of streets"):
        oracle.edit_placed([item.real], [item.mask], [item.prompt], [0], [place])
    with pytest.raises(HarnessError, match="whose scene it does not know"):
        oracle.edit([item.real], [item.mask], [item.prompt], [0])


def test_a_changed_frame_is_refused(streets, tmp_path):
    import shutil

    root = Path(shutil.copytree(streets.root, tmp_path / "copy"))
    dataset = open_dataset(streets.part, root)
    first, second = dataset.frames("train")[:2]
    first.image.write_bytes(second.image.read_bytes())
    picture = load(first)
    car = dataset.labels.by_name["car"]
    place = Place(dataset=dataset, frame=picture.frame, instance=26000, label=car, square=(0, 0, 16, 16))
    oracle = part_of(GeneratorPart, "oracle").build()
    prompt = Prompt(text="a photo of a red car", phrase="car", label_id=26)
    with pytest.raises(HarnessError, match="not the scene"):
        oracle.edit_placed([picture.image[:16, :16]], [np.ones((16, 16), bool)], [prompt], [0], [place])
