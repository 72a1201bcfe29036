"""Every checkpoint that a shipped part names: it loads from a folder and from an offline cache, and where it is absent
the message says so, and what brings it. Parts are enumerated, so a new one is tried too."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import published
import pytest
import torch
from published_generators import as_variant, older
from tiny_parts import batch

from harness.core.config import parse
from harness.core.errors import HarnessError, NotBuiltError
from harness.core.paths import CONFIGS
from harness.data.cityscapes import CITYSCAPES
from harness.generators.base import GeneratorPart
from harness.planning.suite import load_part
from harness.quality import weight_files
from harness.quality.pairs import load_networks
from harness.rehearsal import stand_ins
from harness.segmenters.base import SegmenterPart
from harness.segmenters.options import Backbone
from harness.stages.assess import AssessSpec
from harness.weights.checkpoints import Need
from harness.weights.tensors import headers_only, save

PROFILES = ("paper", "mini", "smoke")
A_CHECKPOINT = re.compile(r"(embedded:|\./|~/)\S+|[\w-][\w.-]*/[\w.-]+")
"""How a name of one is written: shipped, a local folder, a hub id."""
DEEPLAB = {"blocks": [1, 1, 1, 1], "layers": 1.0, "width": 0.125, "stem_width": 0.125, "distances": 9}
BACKBONE = re.compile(r"(^|\.)(backbone|pixel_level_module\.encoder)\.")
TIMM = {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}


def parts_of(kind: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / kind).glob("*.toml"))


def generator(name: str, profile: str = "paper") -> GeneratorPart | None:
    content, path = load_part("generators", name, profile)
    return None if content["adapter"] == "none" else parse(GeneratorPart, content, path)


def segmenter(name: str, profile: str = "paper") -> SegmenterPart:
    return parse(SegmenterPart, *load_part("segmenters", name, profile))


def named_by(content: Any) -> set[str]:
    """All texts of a part that look like the name of a checkpoint, under whatever key."""
    if isinstance(content, dict):
        return set().union(*map(named_by, content.values()))
    if isinstance(content, list | tuple):
        return set().union(*map(named_by, content))
    return {content} if isinstance(content, str) and A_CHECKPOINT.fullmatch(content) else set()


def names(needs: tuple[Need, ...]) -> set[str]:
    return {name for need in needs for name in need.names}


PAINTERS = [name for name in parts_of("generators") if (part := generator(name)) and part.needs]
STARTS = [
    (name, backbone)
    for name in parts_of("segmenters")
    for backbone, found in segmenter(name).backbones.items()
    if found.weights or found.checkpoint
]


@pytest.mark.parametrize("profile", PROFILES)
def test_plans_and_rehearsals_know_of_every_checkpoint_that_a_part_names(profile):
    seen = set()
    for name in parts_of("generators"):
        content, _ = load_part("generators", name, profile)
        part = generator(name, profile)
        assert named_by(content) == (names(part.needs) if part else set()), name
        seen |= named_by(content)
    for name in parts_of("segmenters"):
        content, _ = load_part("segmenters", name, profile)
        if content["adapter"] == "detectron2":  # its checkpoint is detectron2's, which its own config file names
            continue
        part = segmenter(name, profile)
        assert named_by(content) == set().union(*(names(part.needs(backbone)) for backbone in part.backbones)), name
        seen |= named_by(content)
    for name in parts_of("assessments"):
        content, path = load_part("assessments", name, profile)
        specs: Any = parse(AssessSpec, content, path).networks.values()
        known = {getattr(spec, key, "") for spec in specs for key in ("weights", "tokenizer", "model")}
        assert named_by(content) <= known, name
    assert seen


@pytest.mark.parametrize("profile", ["mini", "smoke"])
def test_what_is_shipped_fits_the_parts_that_name_it(profile):
    tried, not_built = set(), set()
    with headers_only():
        for name in parts_of("generators"):
            part = generator(name, profile)
            if part and any(found.startswith("embedded:") for found in names(part.needs)):
                part.build("meta")
                tried |= names(part.needs)
        for name in parts_of("segmenters"):
            starting = segmenter(name, profile)
            for backbone in starting.backbones if starting.adapter != "detectron2" else ():  # it may not be installed
                shipped = names(starting.needs(backbone))
                try:
                    with torch.device("meta"):
                        starting.build(backbone, CITYSCAPES)
                    tried |= shipped
                except NotBuiltError:
                    not_built |= shipped
    assert len(tried) > 8
    assert not_built <= {"embedded:axial_xl"}


def placed(name: str, folder: Path) -> tuple[GeneratorPart, dict[str, Path]]:
    """A generator over a tiny checkpoint in `folder`, and the folder that stands for each of its names."""
    part = generator(name)
    assert part is not None
    small = stand_ins.generator(part, folder)
    small = small.model_copy(update={"options": small.options.model_copy(update={"precision": "fp32"})})
    places = {}
    for need, tiny in zip(part.needs, small.needs, strict=True):
        assert tiny.found is not None
        places |= {given: tiny.found for given in need.names}
    return small, places


def painted(part: GeneratorPart) -> np.ndarray:
    (image,) = part.build("cpu").edit(*batch(1))
    return image


@pytest.mark.parametrize("name", PAINTERS)
def test_a_generator_reads_folders_of_older_versions_as_of_newer(name, tmp_path, capfd):
    part, _ = placed(name, tmp_path)
    expected = painted(part)
    assert expected.std() > 1
    renamed = older(tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert renamed or name == "qwen_image_inpainting", "its files never had other names"
    capfd.readouterr()
    assert np.array_equal(painted(part), expected)
    assert "fetch" not in capfd.readouterr().err, "nothing is fetched, and the library's word for it is not the user's"
    with headers_only():
        part.build("meta")


def small_start(name: str, backbone: str, source: str | None) -> tuple[SegmenterPart, Backbone]:
    """A part, and its backbone at a tiny size, which starts from `source` in place of what the part names."""
    part = segmenter(name)
    given = part.chosen(backbone)
    update: dict[str, Any] = {"checkpoint" if given.checkpoint else "weights": source}
    if part.adapter in ("panoptic_deeplab", "kmax"):
        update["config"] = given.config | DEEPLAB
    elif str(given.weights).startswith("timm/"):
        update["config"] = TIMM
    return part, given.model_copy(update=update)


def write_start(name: str, backbone: str, folder: Path) -> None:
    """What a backbone starts from, in the layout in which it is published or converted, into `folder`."""
    part, given = small_start(name, backbone, None)
    original = part.chosen(backbone)
    if part.adapter in ("panoptic_deeplab", "kmax"):
        torch.manual_seed(4)
        network = part.kind.build(given, part.model, CITYSCAPES)
        save(folder / "model.safetensors", network.get_submodule("backbone").state_dict())
    elif original.checkpoint:
        assert given.family
        published.oneformer(folder, family=given.family, text=True, classes=65)
    elif str(original.weights).startswith("timm/"):
        published.timm(folder)
    else:
        assert given.family
        published.classifier(folder, given.family, names="old", file="bin")


def tensors(network: torch.nn.Module) -> list[torch.Tensor]:
    return [value for _, value in sorted(network.state_dict().items()) if value.is_floating_point()]


@pytest.mark.parametrize(("name", "backbone"), STARTS)
def test_a_segmenter_starts_from_a_folder(name, backbone, tmp_path):
    (tmp_path / "weights").mkdir()
    write_start(name, backbone, tmp_path / "weights" / "it")
    part, given = small_start(name, backbone, str(tmp_path / "weights" / "it"))
    found = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        found.append(part.kind.build(given, part.model, CITYSCAPES))
    at_random = {n for n, value in found[0].state_dict().items() if not torch.equal(value, found[1].state_dict()[n])}
    assert at_random, "the class head is made anew"
    backbones = {n for n in found[0].state_dict() if BACKBONE.search(n)}
    assert backbones and not backbones & at_random, "and the backbone is not"
    with headers_only(), torch.device("meta"):
        part.kind.build(given, part.model, CITYSCAPES)


def from_cache(root: Path) -> Iterator[tuple[str, Any]]:
    """In a process with a full cache and no network: what is made of each hub id, by its name."""
    for name in PAINTERS:
        part = generator(name)
        assert part is not None
        how = {"size": stand_ins.SIDE, "steps": 3, "precision": "fp32"}
        options = part.options.model_copy(update=how)
        for checkpoint in part.needs[0].names:
            tried = {"checkpoint": checkpoint} | ({"fallbacks": ()} if hasattr(options, "fallbacks") else {})
            small = part.model_copy(update={"options": options.model_copy(update=tried)})
            yield f"{name} {checkpoint}", painted(small).tolist()
    for name, backbone in STARTS:
        given = segmenter(name).chosen(backbone)
        source = given.weights or given.checkpoint or ""
        if not source.startswith("."):
            part, small_one = small_start(name, backbone, source)
            network = part.kind.build(small_one, part.model, CITYSCAPES)
            yield f"{name} {backbone} {source}", len(tensors(network))


def from_nothing(root: Path) -> Iterator[tuple[str, Any]]:
    """In a process with an empty cache, an empty folder and no network: what is said of each part."""
    made: dict[str, Any] = {}
    for name in PAINTERS:
        part = generator(name)
        assert part is not None
        made[f"generator {name}"] = lambda part=part: part.build("cpu")
    for name, backbone in STARTS:
        part = segmenter(name)
        made[f"segmenter {name} {backbone}"] = lambda p=part, b=backbone: p.kind.build(p.chosen(b), p.model, CITYSCAPES)
    for name, build in made.items():
        try:
            with torch.device("meta"):  # of networks that are made before their weights are looked for
                build()
        except HarnessError as error:
            yield name, [error.message, error.hint]


def alone(what: str, root: Path, home: Path) -> dict[str, Any]:
    """What `from_cache` or `from_nothing` says in a process of its own, in `root`, over the cache `home`."""
    program = (
        "import json, sys\n"
        f"sys.path[:0] = {[*sys.path]!r}\n"
        "from pathlib import Path\n"
        "import test_every_checkpoint as it\n"
        f"found = dict(it.{what}(Path('.')))\n"
        "Path('found.json').write_text(json.dumps(found))"
    )
    kept = {"HF_HOME": str(home), "HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | kept,
        check=False,
        cwd=root,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((root / "found.json").read_text())


def test_everything_comes_from_a_complete_cache_without_network(tmp_path):
    home, expected = tmp_path / "home", {}
    for name in PAINTERS:
        part, places = placed(name, tmp_path / name)
        picture = painted(part).tolist()
        older(tmp_path / name)
        given = generator(name)
        assert given is not None
        as_variant(places[given.needs[0].names[0]], given.options.variant)  # a ControlNet has none
        for hub_id, place in places.items():
            if not (home / "hub" / f"models--{hub_id.replace('/', '--')}").exists():
                published.cached(published.copied(place), home, hub_id)
        expected |= {f"{name} {hub_id}": picture for hub_id in given.needs[0].names}
    for number, (name, backbone) in enumerate(STARTS):
        given = segmenter(name).chosen(backbone)
        source = given.weights or given.checkpoint or ""
        if source.startswith("."):
            continue
        if not (home / "hub" / f"models--{source.replace('/', '--')}").exists():
            write_start(name, backbone, tmp_path / f"start{number}")
            published.cached(tmp_path / f"start{number}", home, source)
        expected[f"{name} {backbone} {source}"] = None
    found = alone("from_cache", tmp_path, home)
    assert found.keys() == expected.keys()
    for what, picture in expected.items():
        assert picture is None or found[what] == picture, what


def test_what_is_absent_is_told_with_what_brings_it(tmp_path):
    found = alone("from_nothing", tmp_path, tmp_path / "home")
    every = {f"generator {name}" for name in PAINTERS} | {f"segmenter {name} {b}" for name, b in STARTS}
    assert found.keys() == every
    for what, (message, hint) in found.items():
        kind, name, *backbone = what.split()
        part: Any = generator(name) if kind == "generator" else segmenter(name)
        needs = part.needs(*backbone) if backbone else part.needs
        # Of two checkpoints the first that is missed is told.
        first = next(need.names[0] for need in needs if need.names[0] in message)
        if first.startswith("."):
            assert "no such folder" in message and "harness convert" in hint, what
            told = next(need.remedy for need in needs)
            assert f"--output {first}" in told and "https://" in told, "plans and rehearsals say where it comes from"
        else:
            assert re.search("cache|can't be had", message) and f"hf download {first}" in hint, what


def test_networks_of_metrics_are_found_where_public_tools_keep_them(tmp_path, monkeypatch):
    import clip
    from torchvision.models import alexnet, inception_v3

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in parts_of("assessments"):
        specs = parse(AssessSpec, *load_part("assessments", name, "paper")).networks
        for spec in specs.values():
            with pytest.raises(HarnessError, match="are not there: ") as error:
                weight_files.locate(spec)
            assert re.search("load|download|put it there", error.value.hint)
            assert str(tmp_path) in error.value.message
    torch.manual_seed(0)
    narrow = {"vision_layers": 1, "vision_width": 64, "vision_patch_size": 32, "transformer_width": 64}
    towers = clip.model.CLIP(
        32, 224, **narrow, context_length=77, vocab_size=49408, transformer_heads=1, transformer_layers=1
    )
    hub = ".cache/torch/hub/checkpoints"
    drawn = {
        ".cache/clip/ViT-B-32.pt": towers,
        f"{hub}/pt_inception-2015-12-05-6726825d.pth": inception_v3(
            num_classes=1008, aux_logits=False, init_weights=False
        ),
        f"{hub}/alexnet-owt-7be5be79.pth": alexnet(),
    }
    for place, network in drawn.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), tmp_path / place)
    for name in parts_of("assessments"):
        specs = parse(AssessSpec, *load_part("assessments", name, "paper")).networks
        assert set(specs) == {"clip", "features", "lpips"}
        with pytest.raises(HarnessError, match="expected SHA-256"):
            weight_files.locate(specs["clip"])
        free = {key: spec.model_copy(update={"sha256": ""}) for key, spec in specs.items()}
        loaded = load_networks(free, device="cpu", batch_size=2)
        assert not loaded.missing and loaded.clip and loaded.features and loaded.lpips
