"""The documentation does what it says: every command in it is run or checked, every file in it is written and used.

A fenced block `console` holds commands (lines that begin with "$ "), a fence with a title="path" holds a file. Both
are followed page by page, in order, in a copy of the repository. What takes minutes or a network is in one of the lists
below, with what is checked in its place. A command that is in no list is run, and fails if it can't be.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from test_plugins import PLUGIN, REPOSITORY, Checkout, tree

from harness.cli import _parser
from harness.core.config import read_toml
from harness.core.paths import SUITES
from harness.data import png, prediction_files
from harness.data.cityscapes import CITYSCAPES
from harness.data.coco_panoptic import panoptic
from harness.data.prediction import Instance, Prediction, Segment
from harness.data.tree import Tree
from harness.planning.plan import make_plan
from harness.results.rows import Row
from harness.tiny_training.__main__ import _parser as teaching_arguments

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

SHOWN = {
    "my_parts/my_parts/tint.py": "harness_toys/tint.py",
    "configs/generators/tint.toml": "configs/generators/tint.toml",
    "toys/harness_toys/pixels.py": "harness_toys/pixels.py",
    "toys/harness_toys/pixels_network.py": "harness_toys/pixels_network.py",
    "configs/segmenters/pixels.toml": "configs/segmenters/pixels.toml",
    "toys/harness_toys/orchard.py": "harness_toys/orchard.py",
    "configs/datasets/orchard.toml": "configs/datasets/orchard.toml",
    "configs/recipes/orchard.toml": "configs/recipes/orchard.toml",
    "configs/profiles/orchard.toml": "configs/profiles/orchard.toml",
    "my_metrics/my_metrics/accuracy.py": "harness_toys/accuracy.py",
    "my_metrics/my_metrics/classes.py": "harness_toys/classes.py",
}
"""Files that a page prints in full, for readers of the plain text, and the file of tests/plugin that each is."""

ENDS = {
    "harness plan tabel1": 2,
    "harness plan table1 --profile papr": 2,
    "harness synthesize --dataset data/cityscapes --output out --generator foucs": 2,
}
"""Commands that are shown because they end with an error."""

TRAINS = ("harness run ",)
"""Commands that take minutes: planned instead, and run in the slow test where the profile is made for that."""

PARSED = ("harness check ", "harness power ", "harness predict ", "harness rehearse ", "harness convert deeplab2 ")
"""Commands that need results in the store or a checkpoint, or write a baseline: their arguments are parsed."""

TEACHES = "python -m harness.tiny_training "
"""The command that takes an hour: its arguments are parsed."""

ELSEWHERE = {
    "source .venv/bin/activate": "the tests have an environment",
    "export CITYSCAPES_DATASET=/data/cityscapes": "the tests set it to a tiny tree",
    "csDownload --destination_path /data/cityscapes leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip": "account",
    "unzip -q -d /data/cityscapes /data/cityscapes/leftImg8bit_trainvaltest.zip": "the archive of an account",
    "unzip -q -d /data/cityscapes /data/cityscapes/gtFine_trainvaltest.zip": "the archive of an account",
    "curl -O https://shi-labs.com/projects/oneformer/mapillary/250_16_convnext_l_oneformer_mapillary_300k.pth": "a URL",
    "harness convert oneformer 250_16_convnext_l_oneformer_mapillary_300k.pth"
    " --output weights/oneformer_mapillary_convnext_large": "a file of the network; a test of its own converts one",
    "pip install argcomplete": "an extra from the package index",
    'eval "$(register-python-argcomplete harness)"': "a shell of the user; tests/commands asks for completions",
    "mkdocs build --strict": "a test of its own builds the site",
}
"""Commands that belong to somebody's machine or account, with the reason; all others are run or checked."""


class Block(NamedTuple):
    """A fence of a page: commands, or a file to write."""

    commands: tuple[str, ...]
    path: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fences of a page that ask the reader to do something."""
    found = []
    for language, rest, text in FENCE.findall(page.read_text(encoding="utf-8")):
        title = re.search(r'title="([^"]+)"', rest)
        if language == "console":
            found.append(Block(tuple(map(plain, re.findall(r"^\$ (.*)$", text, re.MULTILINE))), "", ""))
        elif title:
            found.append(Block((), title[1], text))
    return found


def plain(command: str) -> str:
    """A command without its comment and without the folder of the environment."""
    return re.sub(r"\s+# .*$", "", command).replace(".venv/bin/", "", 0 if "activate" in command else -1).strip()


def commands() -> list[tuple[Path, str]]:
    return [(page, command) for page in PAGES for block in blocks(page) for command in block.commands]


class Reader:
    """Follows a page in a copy of the repository with a tiny Cityscapes tree and predictions for it."""

    def __init__(self, folder: Path, *, patient: bool) -> None:
        self.patient = patient
        self.copy = Checkout(folder / "harness")
        self.root, self.projects = self.copy.root, []
        predicted(tree(self.root / "data" / "cityscapes"), self.root / "data" / "predictions")
        tools = folder / "bin"
        tools.mkdir()
        for name, module in (("python", ""), ("harness", "-m harness.cli"), ("pip", "-m pip"), ("pytest", "-m pytest")):
            (tools / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module} "$@"\n')
            (tools / name).chmod(0o755)
        self.tools = tools
        augmented = self.root / "augmented" / "altenfurt_000000_000019_night.png"  # a reader's own, of a drawn frame
        augmented.parent.mkdir()
        Image.new("RGB", (256, 128)).save(augmented)

    def follow(self, page: Path) -> None:
        for block in blocks(page):
            if block.path:
                target = self.root / block.path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text, encoding="utf-8")
            for command in block.commands:
                self.obey(command)

    def obey(self, command: str) -> None:
        if command in ELSEWHERE:
            return
        if command.startswith("hf download "):
            assert any(command.split()[-1] in text for text in configurations()), f"no part names it: {command}"
        elif command.startswith("make ") and command != "make help":
            self.dry(command)
        elif command.startswith("pip install "):
            self.install(shlex.split(command))
        elif command.startswith(TRAINS) and "--help" not in command:
            quick = "--only theirs" in command or (self.patient and re.search("--profile (smoke|orchard)", command))
            self.shell(command if quick else planned(command))
        elif command.startswith(PARSED):
            parsed(command)
        elif command.startswith(TEACHES) and "--help" not in command:
            teaching_arguments().parse_args(shlex.split(command.removeprefix(TEACHES)))
        else:
            self.shell(command, ENDS.get(command, 0))

    def shell(self, command: str, code: int = 0) -> subprocess.CompletedProcess:
        variables = self.copy.environment | {"CITYSCAPES_DATASET": str(self.root / "data" / "cityscapes")}
        variables["PYTHONPATH"] = os.pathsep.join([variables["PYTHONPATH"], *self.projects])
        variables["PATH"] = f"{self.tools}{os.pathsep}{variables['PATH']}"
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.root, env=variables, capture_output=True, text=True, timeout=1200
        )
        assert done.returncode == code, f"{command}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def dry(self, command: str) -> None:
        """What a make target would do, with every call of `harness` in it parsed."""
        done = self.shell(command.replace("make ", "make -n ", 1))
        for line in done.stdout.splitlines():
            if (call := re.search(r"bin/(harness .*)$", line)) is not None:
                parsed(call[1])

    def install(self, words: list[str]) -> None:
        """Install for real where there is time, else do what an editable install does: metadata, and the folder."""
        project = self.root / words[-1]
        if self.patient:
            self.copy.install(project)
            return
        facts = tomllib.loads((project / "pyproject.toml").read_text())["project"]
        self.projects.append(str(project))
        about = self.copy.site / f"{facts['name'].replace('-', '_')}-{facts['version']}.dist-info"
        about.mkdir(parents=True, exist_ok=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {facts['name']}\nVersion: {facts['version']}\n")
        groups = facts["entry-points"].items()
        lines = [f"[{group}]\n{name} = {value}\n" for group, named in groups for name, value in named.items()]
        (about / "entry_points.txt").write_text("".join(lines))


def planned(command: str) -> str:
    """`harness plan` with what a `harness run` says, its own options left out."""
    found = parsed(command)
    kept = [found.suite, "--profile", found.profile]
    given = {"--store": found.store, "--data-root": found.data_root}
    given |= {"--with": ",".join(found.added), "--only": ",".join(found.only), "--without": ",".join(found.without)}
    return shlex.join(["harness", "plan", *kept, *(word for pair in given.items() if pair[1] for word in pair)])


def parsed(command: str) -> argparse.Namespace:
    try:
        return _parser().parse_args(shlex.split(command)[1:])
    except SystemExit:
        pytest.fail(f"the command line does not know: {command}")


def configurations() -> list[str]:
    return [path.read_text() for path in (REPOSITORY / "configs").rglob("*.toml")]


def predicted(data: Path, out: Path) -> None:
    """Write the ground truth of val as predictions."""
    names = []
    for frame in Tree(data).frames("val"):
        ids = png.read_ids(frame.instance_ids)
        _, segments = panoptic(ids, CITYSCAPES)
        numbered = {segment["id"]: number for number, segment in enumerate(segments, start=1)}
        panorama = sum((ids == old) * new for old, new in numbered.items())
        answer = Prediction(
            instances=[Instance(ids == i, i // 1000, 0.9) for i in numbered if i >= 24000],
            semantic=CITYSCAPES.label_of(ids),
            panoptic=panorama,
            segments=tuple(Segment(numbered[s["id"]], s["category_id"]) for s in segments),
        )
        prediction_files.write(out, "val", frame.name, answer, CITYSCAPES)
        names.append(frame.name)
    prediction_files.finish(out, "val", names, CITYSCAPES)


def named(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


WITH_COMMANDS = [page for page in PAGES if any(block.commands for block in blocks(page))]
ON_A_CLUSTER = ("slurm", "ray")
"""Pages that tests/running follows, on a cluster of its own."""
TO_FOLLOW = [
    page
    for page in WITH_COMMANDS
    if (page.parent.name == "how-to" and page.stem not in ON_A_CLUSTER) or page.stem == "tutorial"
]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=named)
def test_every_command_and_file_of_a_page_works(page, tmp_path):
    Reader(tmp_path, patient=False).follow(page)


@pytest.mark.slow
@pytest.mark.parametrize("page", TO_FOLLOW, ids=named)
def test_a_newcomer_gets_through_the_page(page, tmp_path):
    """Packages are installed by pip, and runs of the smoke profile are run."""
    Reader(tmp_path, patient=True).follow(page)


def test_no_list_holds_a_command_that_is_in_no_page():
    known = {command for _, command in commands()}
    assert set(ENDS) | set(ELSEWHERE) <= known
    assert all(any(command.startswith(start) for command in known) for start in (*TRAINS, *PARSED, TEACHES))


def test_commands_stand_in_fences_that_this_test_reads():
    for page in PAGES:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        assert not re.search(r"^\s*\$ ", text, re.MULTILINE), f"{page}: a command outside of a console block"
        for language, _, body in FENCE.findall(page.read_text(encoding="utf-8")):
            assert language not in ("bash", "sh", "shell"), f"{page}: commands belong into console blocks"
            if language == "console":
                assert all(line.startswith("$ ") for line in body.splitlines()), f"{page}: {body}"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    assert shutil.which("mkdocs", path=str(Path(sys.executable).parent)), "install the extra `docs`"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not re.search(r'(?:src|href)="https?://[^"]*\.(?:js|css|woff2?)"', (tmp_path / "index.html").read_text())


def test_files_that_pages_print_are_those_that_the_plugin_tests_use():
    printed = {block.path: block.text for page in PAGES for block in blocks(page)}
    for path, original in SHOWN.items():
        assert printed[path] == (PLUGIN / original).read_text(encoding="utf-8"), path


def test_links_between_pages_lead_somewhere():
    for page in DOCS.rglob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page}: {target}"


def test_the_navigation_holds_every_page():
    text = (REPOSITORY / "mkdocs.yml").read_text()
    for page in DOCS.rglob("*.md"):
        assert f": {page.relative_to(DOCS)}" in text, page


def section(page: str, heading: str) -> str:
    """What stands under a heading of a page, up to the next one of its rank."""
    text = (DOCS / page).read_text(encoding="utf-8")
    rank = re.search(rf"^(#+) {re.escape(heading)}", text, re.MULTILINE)
    assert rank, f"{page}: no heading {heading!r}"
    return re.split(rf"^#{{1,{len(rank[1])}}} ", text[rank.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands below a parser."""
    groups = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: found for choices in groups for name, found in choices.items()}


def test_every_command_and_option_is_documented_and_nothing_else():
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    choices = subcommands(_parser())
    parsers = [*choices.values()]
    for one in parsers:
        parsers += subcommands(one).values()
    options = {o for one in parsers for a in one._actions for o in a.option_strings if o.startswith("--")}
    for name in choices:
        assert re.search(rf"^## .*\b{name}\b", text, re.MULTILINE), f"commands.md has no section on {name}"
    documented = set(re.findall(r"`(--[a-z-]+)`", text))
    assert documented == options - {"--help"}


FIELDS = [
    ("configuration.md", "Suite", "harness.planning.suite", ["Suite", "SuiteRows"]),
    ("configuration.md", "Suite", "harness.report.result_table", ["TableSpec"]),
    ("configuration.md", "Columns", "harness.report.columns", ["Column"]),
    ("configuration.md", "Profile", "harness.planning.suite", ["Profile", "SynthesisScale"]),
    ("configuration.md", "Profile", "harness.core.resources", ["Resources"]),
    ("how-to/slurm.md", "2. Your cluster", "harness.running.slurm", ["SlurmOptions"]),
    ("how-to/ray.md", "1. Run", "harness.running.ray", ["RayOptions"]),
    ("configuration.md", "Dataset", "harness.data.streets.adapter", ["StreetsPart"]),
    ("configuration.md", "Dataset", "harness.data.sets.coco", ["CocoPanopticPart", "PanopticSplit"]),
    ("configuration.md", "Dataset", "harness.data.sets.described", ["FolderPart", "FolderSplit"]),
    ("configuration.md", "Dataset", "harness.data.sets.meaning", ["Class"]),
    ("configuration.md", "Dataset", "harness.data.sets.vistas", ["VistasPart"]),
    ("configuration.md", "Generator", "harness.generators.base", ["GeneratorPart"]),
    ("configuration.md", "Generator", "harness.generators.diffusion", ["DiffusionOptions"]),
    ("configuration.md", "Generator", "harness.generators.diff_inpainting", ["InpaintOptions"]),
    ("configuration.md", "Generator", "harness.generators.blended", ["BlendedOptions"]),
    ("configuration.md", "Generator", "harness.generators.gligen", ["GligenOptions"]),
    ("configuration.md", "Folder", "harness.generators.folder", ["FolderOptions"]),
    ("configuration.md", "Recipes", "harness.synthesis.recipe", ["Recipe"]),
    ("configuration.md", "Segmenter", "harness.segmenters.base", ["SegmenterPart"]),
    ("configuration.md", "Segmenter", "harness.segmenters.options", ["Backbone"]),
    ("configuration.md", "Training", "harness.segmenters.options", ["Training"]),
    ("configuration.md", "Assessment", "harness.stages.assess", ["AssessSpec"]),
    ("segmenters.md", "OneFormer", "harness.segmenters.oneformer.options", ["Model", "Inference"]),
    ("segmenters.md", "FastInst", "harness.segmenters.fastinst.options", ["Model", "Inference"]),
    ("segmenters.md", "Mask2Former", "harness.segmenters.mask2former.options", ["Model", "Inference"]),
    ("segmenters.md", "detectron2", "harness.segmenters.detectron2.options", ["Model", "Training", "Inference"]),
    ("how-to/my-predictions.md", "The part", "harness.segmenters.predictions.options", ["Model", "Stated"]),
    ("formats.md", "Synthesis", "harness.synthesis.manifest", ["ManifestEntry"]),
    ("formats.md", "Rows and baselines", "harness.results.rows", ["Row", "SeedResult", "Budget", "Cost"]),
    ("formats.md", "Rows and baselines", "harness.results.baselines", ["Baseline"]),
    ("formats.md", "Rows and baselines", "harness.results.spread", ["NetworkSpread"]),
]


@pytest.mark.parametrize(("page", "heading", "module", "models"), FIELDS, ids=lambda value: str(value))
def test_every_key_of_a_file_is_documented(page, heading, module, models):
    import importlib

    text = section(page, heading)
    for name in models:
        for key in getattr(importlib.import_module(module), name).model_fields:
            assert f"`{key}`" in text or f".{key}`" in text, f"{page}, {heading}: nothing about {name}.{key}"


def test_what_the_method_page_says_of_the_recipes_is_what_they_say():
    recipes = [read_toml(REPOSITORY / "configs" / "recipes" / f"{name}.toml") for name in ("corrected", "released")]
    rows = re.findall(r"^\| `(\w+)` \| `?(\w+)`? \| `?(\w+)`? \|", (DOCS / "method.md").read_text(), re.MULTILINE)
    assert len(rows) >= 8
    for field, *values in rows:
        assert [str(recipe[field]) for recipe in recipes] == values, field


def test_the_table_of_newer_generators_says_what_their_parts_and_checkpoints_are():
    from harness.weights import public

    lines = re.findall(r"^\| `(\w+)` \| (.+) \|$", section("paper-profile.md", "Newer generators"), re.MULTILINE)
    assert {name for name, _ in lines} == {
        path.stem
        for path in (REPOSITORY / "configs/generators").glob("*.toml")
        if 'adapter = "inpainting"' in path.read_text()
    }
    for name, cells in lines:
        options = read_toml(REPOSITORY / f"configs/generators/{name}.toml")["options"]
        named = [options["checkpoint"], *filter(None, [options.get("controlnet")])]
        known = [public.generators()[one] for one in named]
        guidance = options.get("guidance_scale", options.get("call", {}).get("true_cfg_scale"))
        expected = [
            " + ".join(named) + (" (login)" if known[0].gated else ""),
            ", ".join(one.license for one in known),
            f"{sum(one.millions for one in known) * 2 / 1000:.1f} GB",
            f"{options['size']}, {options['steps']}, {guidance}",
        ]
        assert cells.split(" | ") == expected, name


def test_the_printed_phrases_are_those_of_the_code():
    from harness.synthesis.prompts import PROMPTS

    text = section("method.md", "Phase 2: generate")
    for name, phrases in PROMPTS.items():
        assert f"| {name} | {', '.join(phrases)} |" in text


def test_the_printed_settings_are_those_of_the_parts():
    text = section("method.md", "Phase 2: generate")
    parts = [REPOSITORY / f"configs/generators/{name}.toml" for name in ("gligen", "diff_inpainting", "blended")]
    options = [read_toml(part)["options"] for part in parts]
    for key, label in (("guidance_scale", "guidance"), ("size", "side")):
        assert f"| {label} | {' | '.join(str(option[key]) for option in options)} |" in text
    assert all(option["checkpoint"] in text and option["steps"] == 50 for option in options)
    assert options[2]["strength"] * options[2]["steps"] == 38


def method_of(row: Row) -> str:
    """Method and generator as the page prints them."""
    return f"{row.method} {row.generator_label}".replace(" original", "")


def test_the_printed_numbers_are_those_of_the_paper():
    from harness.results.published import published

    lines = re.findall(r"^\| (.+?), (\S+) \|(.*)\|$", section("paper-profile.md", "6. What to expect"), re.MULTILINE)
    printed = {(method_of(row), row.backbone): row for row in published(1)}
    assert len(lines) == 8
    for method, backbone, cells in lines:
        scores = printed[method, backbone].scores
        expected = [f"{100 * scores[name]:.2f}" for name in ("PQ", "IoU", "AP", "AP50")]
        assert [cell.strip() for cell in cells.split("|")] == expected, (method, backbone)


def test_the_printed_numbers_of_table_2_are_those_of_the_paper():
    from harness.results.published import published

    text = section("paper-profile.md", "6. What to expect")
    lines = re.findall(r"^\| ([^|,]+?) \| (\d+\.\d\d) \| (\d+\.\d\d) \|$", text, re.MULTILINE)
    expected = [
        (f"{row.method} {row.generator_label}".strip(), *(f"{100 * row.scores[name]:.2f}" for name in ("AP", "AP50")))
        for row in published(2)
    ]
    assert lines == expected


def test_the_printed_seconds_are_those_of_the_authors():
    from harness.results.published import published_facts

    text = section("paper-profile.md", "5. Run")
    for name, seconds in published_facts().seconds_per_synthesised_image.items():
        assert f"{name} {seconds}" in text


@pytest.mark.parametrize("suite", sorted(path.stem for path in SUITES.glob("*.toml")))
def test_suites_plan_under_the_paper_profile(suite, tmp_path):
    data = tree(tmp_path / "cityscapes")
    plan = make_plan(suite, "paper", data_root=data)
    assert plan.dataset.external == data
    assert any(row.finals for row in plan.rows)


def test_signatures_kinds_of_error_and_exit_codes_are_those_of_the_code():
    from harness.metrics.anatomy import KINDS
    from harness.metrics.table import METRICS, load_metric
    from harness.results.check import Exit

    text = section("metrics.md", "Signatures")
    for name in METRICS.builtin:
        assert f"`{load_metric(name).signature}`" in text
    kinds = re.findall(r"^\| `(\w+)` \|", section("metrics.md", "Where AP is lost"), re.MULTILINE)
    assert tuple(kinds) == KINDS
    codes = re.findall(r"^\| (\d+) \|", section("troubleshooting.md", "Exit codes"), re.MULTILINE)
    assert codes == ["0", "1", "2", "3", "4", "130"]
    assert (Exit.FINE, Exit.WORSE, Exit.NOT_COMPARED) == (0, 1, 3)


def test_messages_of_the_troubleshooting_page_exist():
    code = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "harness").rglob("*.py"))
    for message in re.findall(r"^\| `([^`]+)` \|", section("troubleshooting.md", "Errors"), re.MULTILINE):
        for piece in re.split(r"…|'…'|'paper'|Cityscapes", message):
            assert piece.strip(" '") in code, message
