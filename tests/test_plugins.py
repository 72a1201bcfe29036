"""Plug-ins: a package with entry points is installed, listed and run, and no line of the harness knows of it."""

import ast
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.cityscapes import CITYSCAPES
from harness.data.tree import Tree

REPOSITORY = Path(__file__).resolve().parent.parent
PLUGIN = REPOSITORY / "tests" / "plugin"
COPIED = (
    "harness",
    "configs",
    "suites",
    "results/published",
    "results/baselines",
    "pyproject.toml",
    "constraints.txt",
    "Makefile",
)


class Checkout:
    """A copy of the repository in which a test may add parts and suites; nothing is installed into this Python."""

    def __init__(self, root: Path) -> None:
        self.root, self.site = root, root.parent / "site"
        for name in COPIED:
            source, target = REPOSITORY / name, root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "tiny"))
            elif source.is_file():
                shutil.copy(source, target)
        tiny = REPOSITORY / "harness" / "weights" / "tiny"
        if tiny.is_dir():
            (root / "harness" / "weights" / "tiny").symlink_to(tiny)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a command: this copy first on the path, then what was installed for it, one thread."""
        kept = {k: v for k, v in os.environ.items() if k not in ("CITYSCAPES_DATASET", "HARNESS_STORE")}
        found = f"{self.root}{os.pathsep}{self.site}"
        return kept | {"PYTHONPATH": found, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def harness(self, *arguments: str, **options) -> subprocess.CompletedProcess:
        """Run `harness` of this copy."""
        return self.run([sys.executable, "-m", "harness.cli", *arguments], **options)

    def run(self, command: list[str], **options) -> subprocess.CompletedProcess:
        """Run a command in this copy."""
        options = {"capture_output": True, "text": True, "timeout": 900} | options
        return subprocess.run(command, cwd=self.root, env=self.environment, **options)

    def install(self, package: Path) -> None:
        """Install a package beside the copy, as a user installs one into an environment; build in a scratch folder."""
        scratch = self.root.parent / f"build-{package.name}"
        shutil.copytree(package, scratch, ignore=shutil.ignore_patterns("__pycache__"))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        where = ["--no-deps", "--no-build-isolation", "--upgrade", "--target", str(self.site), str(scratch)]
        done = self.run([*pip, *where])
        assert done.returncode == 0, done.stderr


def street(root: Path, split: str, city: str, number: int, size: tuple[int, int] = (64, 128)) -> None:
    """Write a frame with a road, the sky, two cars and a person."""
    rng = np.random.default_rng(number)
    height, width = size
    image = rng.integers(60, 120, (height, width, 3), np.uint8)
    ids = np.full(size, 23, np.int32)
    ids[height // 2 :] = 7
    for identity, (top, left, tall, wide) in {
        26000: (30, 8 + number, 24, 40), 26001: (34, 60, 18, 30), 24000: (28, 100, 30, 12)
    }.items():  # fmt: skip
        ids[top : top + tall, left : left + wide] = identity
        image[top : top + tall, left : left + wide] = rng.integers(0, 256, 3)
    Tree(root).write_frame(split, city, f"{city}_{number:06d}_000019", image, ids)


def tree(root: Path) -> Path:
    """A Cityscapes tree of two train frames and one val frame."""
    street(root, "train", "aachen", 0)
    street(root, "train", "aachen", 1)
    street(root, "val", "lindau", 2)
    return root


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Checkout:
    made = Checkout(tmp_path_factory.mktemp("plugins") / "harness")
    made.install(PLUGIN)
    return made


def line(listing: str, name: str) -> str:
    return next(row for row in listing.splitlines() if f" {name} " in row)


def test_an_installed_package_is_listed_before_any_part_uses_it(checkout):
    done = checkout.harness("list")
    assert done.returncode == 0, done.stderr
    assert "generator adapter" in line(done.stdout, "tint")
    assert "no part uses it" in line(done.stdout, "tint")
    assert "segmenter adapter" in line(done.stdout, "pixels")
    assert line(done.stdout, "pixel_accuracy").split()[0] == "metric"


def test_the_registries_load_what_the_package_names(checkout):
    program = (
        "from harness.metrics.table import METRICS\n"
        "from harness.generators.base import GENERATORS\n"
        "from harness.segmenters.base import SEGMENTERS\n"
        "print(GENERATORS.load('tint').__module__, SEGMENTERS.load('pixels').__module__)\n"
        "print(METRICS.load('pixel_accuracy').infos[0].key)\n"
        "import sys; assert not {'torch', 'cv2', 'diffusers'} & set(sys.modules)"
    )
    done = checkout.run([sys.executable, "-c", program])
    assert done.stdout.split() == ["harness_toys.tint", "harness_toys.pixels", "pixel_accuracy"], done.stderr


def test_a_part_makes_an_adapter_choosable_and_synthesis_uses_it(checkout, tmp_path):
    shutil.copytree(PLUGIN / "configs", checkout.root / "configs", dirs_exist_ok=True)
    listing = checkout.harness("list").stdout
    assert line(listing, "tint").split() == ["generator", "tint", "Tint", "built"]
    assert line(listing, "pixels").split()[:2] == ["segmenter", "pixels"]
    data, made = tree(tmp_path / "data"), tmp_path / "made"
    done = checkout.harness("synthesize", "--dataset", str(data), "--output", str(made), "--generator", "tint")
    assert done.returncode == 0, done.stderr
    assert len(list(made.glob("leftImg8bit/train/aachen/*.png"))) == 2 * 3 * 2  # frames x instances x variants


def test_a_wrong_option_of_a_plugin_names_file_and_key(checkout, tmp_path):
    part = checkout.root / "configs" / "generators" / "tint_strong.toml"
    part.write_text('label = "Tint"\nadapter = "tint"\n[options]\nstrenght = 1.0\n')
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'title = "t"\nquestion = "q"\n[[rows]]\nmethod = "m"\n'
        'generator = "tint_strong"\nsegmenter = "oneformer"\nbackbone = "convnext"\n'
    )
    done = checkout.harness("plan", str(suite))
    assert done.returncode == 2
    assert "tint_strong.toml" in done.stderr and "strenght" in done.stderr and "'strength'" in done.stderr
    data, made = tree(tmp_path / "data"), tmp_path / "made"
    arguments = ["synthesize", "--dataset", str(data), "--output", str(made), "--generator", "tint_strong"]
    done = checkout.harness(*arguments)
    assert done.returncode == 2 and not made.exists()
    assert "tint_strong.toml" in done.stderr and "strenght" in done.stderr and "'strength'" in done.stderr


def test_a_name_that_is_taken_is_an_error_that_names_both(checkout, tmp_path):
    rival = tmp_path / "rival"
    (rival / "rival.dist-info").mkdir(parents=True)
    (rival / "rival.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 1\n")
    (rival / "rival.dist-info" / "entry_points.txt").write_text("[harness.generators]\nidentity = rival:Other\n")
    environment = checkout.environment | {"PYTHONPATH": f"{checkout.root}{os.pathsep}{rival}"}
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "list"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=checkout.root,
    )
    assert done.returncode == 2
    assert "'rival:Other'" in done.stderr and "controls:Identity" in done.stderr


def test_the_metric_of_the_package_counts_pixels():
    sys.path.insert(0, str(PLUGIN))
    try:
        from harness_toys.accuracy import PixelAccuracy
    finally:
        sys.path.remove(str(PLUGIN))
    from harness.metrics.base import Target
    from harness.metrics.prediction_views import LabelMap

    ids = np.array([[7, 7, 26001, 0]], np.uint16)  # road, road, a car, void
    metric = PixelAccuracy(CITYSCAPES)
    statistics = metric.observe(LabelMap(np.array([[7, 23, 26, 7]], np.uint8)), Target(ids=ids, labels=CITYSCAPES))
    assert metric.score(statistics) == {"pixel_accuracy": pytest.approx(2 / 3)}
    assert np.isnan(metric.score({"right": np.zeros(1), "counted": np.zeros(1)})["pixel_accuracy"])


def test_the_metric_of_classes_counts_each_on_its_own():
    sys.path.insert(0, str(PLUGIN))
    try:
        from harness_toys.classes import MeanAccuracy
    finally:
        sys.path.remove(str(PLUGIN))
    from harness.metrics.base import Target
    from harness.metrics.prediction_views import LabelMap

    ids = np.array([[7, 7, 7, 7, 26001, 0]], np.uint16)  # four of road, a car, void
    metric = MeanAccuracy(CITYSCAPES)
    statistics = metric.observe(
        LabelMap(np.array([[7, 23, 23, 23, 26, 7]], np.uint8)), Target(ids=ids, labels=CITYSCAPES)
    )
    found = metric.score(statistics)
    assert found["mean_accuracy"] == pytest.approx((1 / 4 + 1) / 2)
    assert (found["mean_accuracy/road"], found["car_accuracy"]) == (0.25, 1.0)
    twice = metric.replicates(statistics, np.array([[2.0], [1.0]]))
    assert twice["mean_accuracy"].tolist() == [found["mean_accuracy"]] * 2
    nothing = {name: np.zeros_like(array) for name, array in statistics.items()}
    assert np.isnan([*metric.score(nothing).values()]).all()


def test_the_metric_of_the_package_is_computed_stored_and_resampled(checkout, tmp_path):
    """Scores of an evaluation, and an interval from its statistics alone; a wrong name is told apart."""
    data, semantic = tree(tmp_path / "data"), tmp_path / "p" / "semantic"
    semantic.mkdir(parents=True)
    street(data, "val", "lindau", 3)
    for path in sorted(data.glob("gtFine/val/*/*_labelIds.png")):
        labels = np.array(Image.open(path))
        labels[:8] = 7  # an eighth of the frame is wrong: sky called road
        Image.fromarray(labels).save(semantic / path.name.replace("gtFine", "pred"))
    arguments = ["evaluate", "--data-root", str(data), "--semantic", str(semantic), "--format", "json", "--metric"]
    done = checkout.harness(*arguments, "pixel_accuracy")
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)
    assert scores["pixel_accuracy"] == pytest.approx(7 / 8) and "pixel_accuracy:toys" in scores["signature"]
    program = (
        "from pathlib import Path; from harness.metrics import frame_statistics, intervals\n"
        "from harness.core.progress import silent; from harness.data.tree import Tree\n"
        "from harness.stages.evaluate import EvaluateSpec, run\n"
        f"data, predicted, out = Tree(Path({str(data)!r})), Path({str(semantic.parent)!r}), Path('out')\n"
        "inputs = {'dataset': data, 'predict': predicted}\n"
        "facts = run(EvaluateSpec(metrics=['pixel_accuracy']), inputs, out, silent)\n"
        "found = intervals.interval([frame_statistics.load(out)], 'pixel_accuracy', replicates=20)\n"
        "print(facts['scores']['pixel_accuracy'], found.value, found.n_images)"
    )
    done = checkout.run([sys.executable, "-c", program])
    assert done.stdout.split() == ["0.875", "0.875", "2"], done.stderr
    done = checkout.harness(*arguments, "pixel_acuracy")
    assert done.returncode == 2 and "'pixel_accuracy'" in done.stderr and done.stdout == ""


COMPARES = """
import json, sys
from pathlib import Path
from harness.core.progress import silent
from harness.data.tree import Tree
from harness.planning.suite import load_profile, load_suite
from harness.report import render, table_for
from harness.report.leaderboard import leaderboard
from harness.results.baselines import accept, statistics_in
from harness.results.check import compare
from harness.results.paired import estimates, noise
from harness.results.rows import Row, SeedResult, mean_scores
from harness.stages.evaluate import EvaluateSpec, run

data, work, suite = Path(sys.argv[1]), Path(sys.argv[2]), load_suite(sys.argv[3])
folders = {}

def row(name):
    seeds = []
    for seed in range(3):
        key = f"{name}-{seed}"
        inputs, folders[key] = {"dataset": Tree(data), "predict": work / key}, work / key / "scores"
        facts = run(EvaluateSpec(metrics=suite.metrics), inputs, folders[key], silent)
        seeds.append(SeedResult(seed=seed, scores=facts["scores"], key=key))
    return Row(suite="accuracy", name="row", profile="smoke", method="Pixels", data="d", images=facts["n_images"],
               signature=facts["signature"], scores=mean_scores(seeds), seeds=tuple(seeds))

def where(one):
    return folders[one.key]

before, same, worse = map(row, ("before", "same", "worse"))
path = work / "accuracy-smoke.json"
accepted = accept([before], path, reason="first", statistics_of=where, comparable=False)
found = {name: [verdict.model_dump() for verdict in compare([now], accepted, noise=noise(statistics_in(path), where))]
         for name, now in (("same", same), ("worse", worse))}
table = table_for(suite, load_profile("smoke"), [before], intervals=estimates(where, [before]))
print(json.dumps({"tolerance": accepted.tolerance, "verdicts": found, "csv": render(table, "csv"),
                  "console": render(table, "console"), "leaderboard": leaderboard([accepted])}))
"""


def test_the_metric_of_the_package_has_intervals_in_tables_and_is_checked_with_its_own_tolerance(checkout, tmp_path):
    """No list of the harness names it: its infos are all that tables, checks and the leaderboard read."""
    data, rng = tree(tmp_path / "data"), np.random.default_rng(0)
    for number in range(3, 9):
        street(data, "val", "lindau", number)
    for name, wrong in (("before", 8), ("same", 8), ("worse", 20)):
        for seed in range(3):
            folder = tmp_path / f"{name}-{seed}" / "semantic"
            folder.mkdir(parents=True)
            for path in sorted(data.glob("gtFine/val/*/*_labelIds.png")):
                labels = np.array(Image.open(path))
                labels[: wrong + rng.integers(-2, 3)] = 7  # sky called road
                Image.fromarray(labels).save(folder / path.name.replace("gtFine", "pred"))
    suite = tmp_path / "accuracy.toml"
    suite.write_text(
        'title = "t"\nquestion = "q"\nmetrics = ["pixel_accuracy"]\n'
        '[[rows]]\nmethod = "m"\ngenerator = "none"\nsegmenter = "oneformer"\nbackbone = "swin"\n'
        '[table]\ncolumns = ["method", "pixel_accuracy"]\ndifference = []\nintervals = true\n'
    )
    done = checkout.run([sys.executable, "-c", COMPARES, str(data), str(tmp_path), str(suite)])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tolerance"] == {"IoU": 0.02, "pixel_accuracy": 0.02}
    same, worse = (
        next(one for one in found["verdicts"][name] if one["metric"] == "pixel_accuracy") for name in ("same", "worse")
    )
    assert (same["kind"], worse["kind"]) == ("same", "worse")
    assert worse["tolerance"] >= 0.02
    low, high = worse["interval"]
    assert low < worse["now"] - worse["before"] < high < 0
    cell = next(iter(csv.DictReader(found["csv"].splitlines())))
    assert float(cell["pixel_accuracy_low"]) < float(cell["pixel_accuracy"]) < float(cell["pixel_accuracy_high"])
    assert "Accuracy ↑" in found["console"] and " to " in found["console"]
    assert "| Accuracy |" in found["leaderboard"]


def test_a_new_built_in_metric_is_one_file_and_one_entry_of_the_table(tmp_path):
    """As the how-to says: the metric of the package, moved into the harness."""
    mine = Checkout(tmp_path / "harness")
    package = mine.root / "harness" / "metrics"
    source = (PLUGIN / "harness_toys" / "accuracy.py").read_text()
    infos = re.search(r"    infos = \((.*?)\n    \)\n", source, re.DOTALL)
    assert infos
    (package / "accuracy.py").write_text(
        source.replace(infos[0], '    infos = infos_of("accuracy")\n').replace(
            "from harness.metrics.info import MetricInfo", "from harness.metrics.table import infos_of"
        )
    )
    table = (package / "table.py").read_text()
    end = ")\n" + '"""Built-in metrics, in the order'
    entry = f'    MetricEntry("accuracy", "harness.metrics.accuracy:PixelAccuracy", ({infos[1]}\n    )),\n'
    assert table.count(end) == 1
    (package / "table.py").write_text(table.replace(end, entry + end))

    data, semantic = tree(tmp_path / "data"), tmp_path / "semantic"
    semantic.mkdir()
    for path in sorted(data.glob("gtFine/val/*/*_labelIds.png")):
        shutil.copy(path, semantic / path.name)
    done = mine.harness("evaluate", "--data-root", str(data), "--semantic", str(semantic), "--format", "json")
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)
    assert scores["pixel_accuracy"] == 1.0 and scores["signature"].endswith(
        " + pixel_accuracy:toys-0.1|void:ignored-in-truth|pooled:set"
    )
    program = (
        "from harness.report.columns import column; from harness.metrics.table import find, known\n"
        "print(column('pixel_accuracy').heading, find('pixel_accuracy').tolerance, len(known()))"
    )
    done = mine.run([sys.executable, "-c", program])
    assert done.stdout.split()[:3] == ["Accuracy", "↑", "0.02"], done.stderr


def test_another_signature_of_a_metric_is_another_evaluation_and_nothing_else(checkout, tmp_path):
    suite = tmp_path / "metric.toml"
    suite.write_text(
        'title = "t"\nquestion = "q"\nmetrics = ["pixel_accuracy"]\n'
        '[[rows]]\nmethod = "m"\ngenerator = "none"\nsegmenter = "oneformer"\nbackbone = "swin"\n'
    )
    program = (
        "import sys; from harness.planning.plan import make_plan; from harness.metrics.table import METRICS\n"
        "METRICS.load('pixel_accuracy').signature += sys.argv[2]\n"
        "print({step.kind: step.key for step in make_plan(sys.argv[1], 'mini').steps().values()})"
    )
    old, new = (
        ast.literal_eval(checkout.run([sys.executable, "-c", program, str(suite), suffix]).stdout)
        for suffix in ("", "|another")
    )
    assert [kind for kind in old if old[kind] != new[kind]] == ["evaluate"]


@pytest.mark.slow
def test_the_generator_and_the_segmenter_of_the_package_make_a_row(checkout, tmp_path):
    shutil.copytree(PLUGIN / "configs", checkout.root / "configs", dirs_exist_ok=True)
    suite = tmp_path / "toys.toml"
    suite.write_text(
        'title = "Toys"\nquestion = "Does the path hold?"\nmetrics = ["pixel_accuracy"]\n'
        '[[rows]]\nmethod = "Pixels"\ngenerator = ["none", "tint"]\nsegmenter = "pixels"\nbackbone = "plain"\n'
        '[table]\ncolumns = ["method", "version", "IoU", "AP", "images_seen", "pixel_accuracy"]\ndifference = []\n'
    )
    arguments = [str(suite), "--profile", "smoke", "--store", str(tmp_path / "store")]
    done = checkout.harness("run", *arguments)
    assert done.returncode == 0, done.stderr
    table = checkout.harness("report", *arguments, "--format", "csv").stdout
    assert "Tint" in table and "80" in table  # 20 iterations of 4 images
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["row"] for row in rows] == ["none/pixels/plain", "tint/pixels/plain"]
    assert all(0 < float(row["pixel_accuracy"]) <= 100 for row in rows), table
    checked = ["check", *arguments, "--baseline", str(tmp_path / "toys.json")]
    done = checkout.harness(*checked, "--accept", "--reason", "first")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "toys.json").read_text())["tolerance"]["pixel_accuracy"] == 0.02
    done = checkout.harness(*checked)
    assert done.returncode == 0 and "Accuracy" in done.stdout, done.stdout + done.stderr
