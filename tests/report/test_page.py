"""The HTML report: gathered from artifacts, self-contained, escaped, and opened in a real browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from result_rows import MINI, PARTS, measured, run, suite, table1

from harness.core import failures
from harness.core.store import Store
from harness.data import png
from harness.data.cityscapes import CITYSCAPES
from harness.data.streets.adapter import StreetsPart
from harness.data.tree import Tree
from harness.metrics import evaluation
from harness.planning.plan import Plan, PlannedRow, Step
from harness.planning.suite import Arm
from harness.report import figures, table_for
from harness.report.gather import gather
from harness.report.page import FailureReport, Page, Section, render_page
from harness.report.pictures import _spread_over_classes, class_color, prediction_grid, sample_grids, whole_grid
from harness.synthesis.manifest import NAME, ManifestEntry, render

NASTY = '</title><script>alert("x")</script><img src="http://example.org/x.png" onerror=alert(1)> & "quoted"'
SIZE = (32, 64)


class Reader(HTMLParser):
    """Tags, links and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A Cityscapes tree of two train and three val frames with a car and two persons each."""
    root, rng = tmp_path / "dataset", np.random.default_rng(0)
    ids = np.full(SIZE, 7, np.int32)
    ids[8:24, 8:24], ids[4:28, 40:44], ids[6:26, 50:54] = 26000, 24000, 24001
    for split, count in (("train", 2), ("val", 3)):
        for number in range(count):
            image = rng.integers(0, 255, (*SIZE, 3), np.uint8)
            Tree(root).write_frame(split, "town", f"town_{number:06d}_000019", image, ids)
        Tree(root).write_panoptic(split)
    return root


@pytest.fixture
def synthesis(tmp_path: Path, dataset: Path) -> Path:
    """A synthesis of one car and one person of the first train frame, by hand."""
    folder = tmp_path / "synthesis"
    source = Tree(dataset).frames("train")[0]
    entries = []
    for instance, name, box in ((26000, "car", (8, 8, 24, 24)), (24000, "person", (40, 4, 44, 28))):
        files = {}
        for kind in ("real", "mask", "generated"):
            files[kind] = f"crops/{kind}/{instance}.png"
            (folder / files[kind]).parent.mkdir(parents=True, exist_ok=True)
            shade = instance % 255 if kind == "real" else 99
            Image.fromarray(np.full((16, 16, 3), shade, np.uint8)).save(folder / files[kind])
        files["file"] = f"{instance}.png"
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / files["file"])
        square = (box[0], box[1], box[0] + 24, box[1] + 24)
        entries.append(
            ManifestEntry(
                status="made",
                name=f"town-{instance}-0_000000_000019",
                source=source.name,
                city="town",
                instance=instance,
                variant=0,
                class_name=name,
                label_id=instance // 1000,
                area=100,
                box=box,
                square=square,
                prompt=f"a photo of {NASTY}",
                seed=1,
                window=(0, 0, 64, 32),
                **files,
            )
        )
    (folder / NAME).write_text(render(entries))
    return folder


@pytest.fixture
def prediction(tmp_path: Path, dataset: Path) -> Path:
    """Predictions of val: the car found with confidence 0.9, a person with 0.5, nothing in the last frame."""
    folder = tmp_path / "prediction"
    (folder / "instances" / "masks").mkdir(parents=True)
    for place, frame in enumerate(Tree(dataset).frames("val")):
        lines = []
        for index, (instance, score) in enumerate(((26000, 0.9), (24000, 0.5))) if place < 2 else ():
            mask = f"masks/{frame.name}_{index}.png"
            Image.fromarray((png.read_ids(frame.instance_ids) == instance).astype(np.uint8) * 255).save(
                folder / "instances" / mask
            )
            lines.append(f"{mask} {instance // 1000} {score}\n")
        (folder / "instances" / f"{frame.name}.txt").write_text("".join(lines))
    return folder


def page(*sections: Section, **more) -> str:
    fields = {"title": "T", "question": "Q?", "profile": "mini", "caption": "streets", "comparable": False}
    return render_page(Page(sections=sections, **{**fields, **more}))


def full_page() -> str:
    table = table_for(suite(), MINI, table1(seeds=3))
    rows = [measured(run(), method=NASTY, note=NASTY), measured(run(ap=0.3), backbone="B")]
    chart = figures.curves("Loss", [figures.Series(NASTY, [(0.0, 1.0), None, (2.0, 0.5)])], x="iteration", y="loss")
    bars = figures.bars("Bars", ["car", NASTY], [("a", [10.0, None]), ("b", [0.0, 5.5])], units=["%", "%"])
    forest = figures.whiskers("Gains", [figures.Whisker("zoom", 1.0, -0.5, 2.5)], unit="points")
    return page(
        Section(anchor="answer", title="The answer", texts=("Zoom gives nothing.",), figures=(forest,)),
        Section(anchor="table", title="Results", tables=(table, table_for(suite(title=NASTY), MINI, rows))),
        Section(anchor="curves", title="Curves", figures=(chart, bars)),
        Section(anchor="environment", title="Environment", facts=((NASTY, NASTY),)),
        Section(anchor="failures", title="Failed", failures=(FailureReport(NASTY, NASTY, f"Traceback\n{NASTY}"),)),
        Section(anchor="nothing", title="Nothing"),
        title=NASTY,
        question=NASTY,
    )


def test_the_page_is_one_file_that_fetches_nothing_and_runs_nothing():
    found = Reader(full_page())
    assert not found.all("script")
    assert not found.all("link")
    assert all(attrs["src"].startswith("data:") for attrs in found.all("img"))
    assert not any(name.startswith("on") for _, attrs in found.tags for name in attrs)
    assert [attrs["href"][0] for attrs in found.all("a")] == ["#"] * len(found.all("a"))
    assert "default-src 'none'" in found.all("meta")[1]["content"]


def test_text_of_others_is_shown_as_text():
    text = full_page()
    assert "<script>alert" not in text
    assert "".join(Reader(text).text).count('<script>alert("x")</script>') >= 8


def test_headings_links_and_figures_can_be_read_without_seeing():
    found = Reader(full_page())
    anchors = {attrs.get("id") for _, attrs in found.tags}
    assert all(attrs["href"][1:] in anchors for attrs in found.all("a"))
    assert len(found.all("h1")) == 1
    assert all(attrs.get("aria-label") or attrs.get("aria-hidden") for attrs in found.all("svg"))
    assert all(attrs.get("scope") for attrs in found.all("th"))
    assert found.all("html")[0]["lang"] == "en"
    assert "nothing" not in anchors


def test_a_page_of_another_profile_carries_the_warning_and_the_papers_does_not():
    section = Section(anchor="a", title="A", texts=("x",))
    assert "not comparable with the paper" in page(section)
    assert "not comparable" not in page(section, profile="paper", comparable=True)


def test_figures_draw_every_value_in_range():
    text = figures.bars("B", ["x", "y"], [("a", [10.0, -5.0]), ("b", [None, 2.0])], units=["%", "%"])
    bars = [tuple(map(float, found)) for found in re.findall(r'x="([\d.]+)%" y="2" width="([\d.]+)%"', text)]
    assert len(bars) == 3
    assert all(0 <= left <= left + width <= 100 for left, width in bars)
    assert [width for _, width in bars] == pytest.approx([bars[0][1], bars[0][1] / 2, bars[0][1] / 5], abs=0.02)
    assert "10.0 %" in text and ">–<" in text
    line = figures.curves("C", [figures.Series("a", [(0.0, 1.0), (1.0, 2.0), None, (3.0, 1.0)])], x="x", y="y")
    assert re.search(r'd="M[\d. ]+L[\d. ]+M[\d. ]+"', line)
    assert figures.curves("empty", [], x="x", y="y").startswith("<figure")
    apart = figures.bars("B", ["x", "y"], [("a", [10.0, 1.0])], units=["", "dB"], common=False)
    assert re.findall(r'y="2" width="([\d.]+)%"', apart) == ["100.00", "100.00"] and "1.0 dB" in apart


def test_more_lines_than_colours_get_a_plot_each():
    def drawn(count: int) -> str:
        series = [figures.Series(f"run {k}", [(0.0, 1.0), (1.0, float(k))]) for k in range(count)]
        return figures.curves("C", series, x="x", y="y")

    assert drawn(8).count('class="plot"') == 1 and len(set(re.findall(r"line s\d", drawn(8)))) == 8
    assert drawn(9).count('class="plot"') == 9
    assert all(f"<figcaption>run {k}</figcaption>" in drawn(9) for k in range(9))
    seeds = [figures.Series(f"seed {k}", [(0.0, 1.0)], f"row {r}") for r in range(2) for k in range(5)]
    text = figures.curves("C", seeds, x="x", y="y")
    assert text.count('class="plot"') == 2 and text.count("> seed 4</li>") == 2
    crowded = [figures.Series(f"seed {k}", [(0.0, 1.0)], "row") for k in range(9)]
    assert figures.curves("C", crowded, x="x", y="y").count('class="plot"') == 9


def test_ticks_that_lie_close_have_the_digits_that_tell_them_apart():
    lines = [figures.Series("a", [(0.6512, 1.0), (0.6516, 2.0)])]
    texts = re.findall(r'text-anchor="middle">([\d.]+)<', figures.curves("C", lines, x="x", y="y"))
    assert len(set(texts)) == len(texts) > 2


def test_samples_are_the_same_instances_whatever_the_generator(synthesis):
    made, placed = sample_grids({"A": synthesis, "B": synthesis})
    assert made.columns == ("real crop", "mask", "A", "B")
    assert placed.columns == ("real crop", "mask", *(f"{n}: {k}" for n in "AB" for k in ("pasted", "focused crop")))
    assert placed.folded and not made.folded
    for grid in (made, placed):
        assert [head.split(",")[0] for head in grid.heads] == ["person", "car"]
        assert all(picture.uri.startswith("data:image/jpeg;base64,") for row in grid.rows for picture in row)
        assert all(len(row) == len(grid.columns) for row in grid.rows)
    assert sample_grids({}) == []


def test_what_copies_the_real_crop_is_not_shown_as_generated(synthesis, tmp_path):
    copies = tmp_path / "copies"
    shutil.copytree(synthesis, copies)
    shutil.copytree(copies / "crops" / "real", copies / "crops" / "generated", dirs_exist_ok=True)
    made, placed = sample_grids({"A": synthesis, "focus": copies})
    assert made.columns == ("real crop", "mask", "A")
    assert placed.columns[4:] == ("focus: pasted", "focus: focused crop")
    assert [grid.title for grid in sample_grids({"focus": copies})] == [placed.title]


def test_whole_images_stand_beside_their_frames_and_take_no_sample_away(synthesis, tmp_path):
    given = tmp_path / "given"
    ids = np.full((40, 80), 7, np.int32)
    ids[10:30, 10:40] = 26000
    frames, entries = {}, []
    for number in range(6):
        name = f"aa_{number:06d}_000019"
        frames[name] = Tree(tmp_path / "data").write_frame("train", "aa", name, np.full((40, 80, 3), 9, np.uint8), ids)
        made = Tree(given).write_frame(
            "train", "aa", f"aa-0-0_{number:06d}_000019", np.full((40, 80, 3), 200, np.uint8), ids
        )
        box = (0, 0, 80, 40)
        entries.append(
            ManifestEntry(
                status="made", name=made.name, source=name, city="aa", instance=0, variant=0, class_name="", label_id=0,
                area=3200, box=box, square=box, window=box, seed=0, file=str(made.image.relative_to(given)),
                labels=str(made.instance_ids.relative_to(given)),
            )
        )  # fmt: skip
    (given / "manifest.jsonl").write_text(render(entries))
    assert sample_grids({"A": synthesis, "mine": given}) == sample_grids({"A": synthesis})
    grid = whole_grid(given, frames, "mine")
    assert grid.columns == ("real frame", "mine", "mine: labels") and len(grid.rows) == 4
    assert "6 images of 6 frames" in grid.text and grid.rows[0][2].note == "1 car"


def test_samples_take_the_classes_in_turn(synthesis):
    base = ManifestEntry.model_validate_json((synthesis / NAME).read_text().splitlines()[0])
    cars = [base.model_copy(update={"instance": 26000 + k, "area": 100 - k}) for k in range(5)]
    person = base.model_copy(update={"instance": 24000, "label_id": 24, "area": 1})
    assert [entry.instance for entry in _spread_over_classes([*cars, person], 3, CITYSCAPES)] == [24000, 26000, 26001]


def test_predictions_below_the_confidence_are_not_drawn(dataset, prediction):
    grid = prediction_grid(Tree(dataset), {"A": prediction}, confidence=0.8)
    assert "0.8 confidence, the same for every row" in grid.text
    assert grid.columns == ("image", "ground truth", "A")
    assert [[picture.note for picture in row] for row in grid.rows] == [
        ["", "1 car, 2 person", "1 car"],
        ["", "1 car, 2 person", "1 car"],
        ["", "1 car, 2 person", "no instance"],
    ]


def planned(tmp_path: Path, dataset: Path, synthesis: Path, prediction: Path) -> tuple[Plan, Store, list]:
    """A plan of two rows, baseline and control, one of them done and one failed, with their artifacts in a store."""
    store = Store(tmp_path / "store")
    store.open()
    spec = StreetsPart(label="streets", adapter="cityscapes")
    data = Step(kind="dataset", label="streets", spec=spec, inputs={}, key="d" * 20, external=dataset)

    def step(kind: str, key: str, **inputs: Step) -> Step:
        return Step(kind=kind, label=f"{kind} {key}", spec=spec, inputs={"dataset": data, **inputs}, key=key * 20)

    def done(made: Step, folder: Path) -> None:
        partial = store.partial(made.kind, made.key)
        shutil.copytree(folder, partial)
        facts = {"wall_s": 1.5}
        environment = {"commit": "0123", "packages": {"torch": "9"}, "gpus": []}
        store.commit(made.kind, made.key, {"facts": facts, "peak_memory_bytes": 2**27, "environment": environment})

    train, other = step("train", "a"), step("train", "b", synthesis=(made := step("synthesize", "c")))
    log = tmp_path / "log"
    log.mkdir()
    (log / "log.jsonl").write_text("".join(json.dumps({"step": k, "loss": 3 / k}) + "\n" for k in (1, 2, 3)))
    evaluated = tmp_path / "evaluated"
    evaluated.mkdir()
    panoptic = dataset / "gtFine"
    evaluation.evaluate(Tree(dataset), "val", instances=prediction / "instances", panoptic=panoptic).save(evaluated)
    predict = step("predict", "e", train=train)
    final = step("evaluate", "f", predict=predict)
    for one, folder in ((made, synthesis), (train, log), (predict, prediction), (final, evaluated)):
        done(one, folder)
    store.fail(
        "train",
        other.key,
        failures.Failure(kind="error", message="the loss is not finite", traceback="Traceback: boom"),
    )
    arms = [
        Arm(
            method="OneFormer",
            version=None,
            generator=name,
            recipe=None,
            segmenter="oneformer",
            backbone="swin",
            note="",
        )
        for name in ("none", "focus")
    ]
    plan = Plan(
        name="table1",
        suite=suite("A question"),
        profile_name="mini",
        profile=MINI,
        dataset=data,
        labels=CITYSCAPES,
        rows=[
            PlannedRow(arm=arms[0], generator=PARTS["none"], backbone="Swin", finals={0: final}),
            PlannedRow(
                arm=arms[1],
                generator=PARTS["focus"],
                backbone="Swin",
                finals={0: step("evaluate", "g", predict=step("predict", "h", train=other))},
            ),
        ],
    )
    rows = [
        measured(run(), name=arms[0].name, backbone="Swin"),
        measured(status="failed", name=arms[1].name, backbone="Swin", label="Focused"),
    ]
    return plan, store, rows


def test_a_report_is_gathered_from_artifacts(tmp_path, dataset, synthesis, prediction):
    plan, store, rows = planned(tmp_path, dataset, synthesis, prediction)
    found = gather(plan, store, rows)
    sections = {section.anchor: section for section in found.sections}
    assert sections["samples"].grids[0].columns[2] == "Focused"
    assert len(sections["predictions"].grids[0].rows) == 3
    assert sections["worst"].grids[0].title == "Worst frames of Original, Swin, by PQ of the frame"
    assert len(sections["curves"].figures) == 1
    assert [failure.message for failure in sections["failures"].failures] == ["the loss is not finite"]
    assert ("torch", "9") in sections["environment"].facts
    assert [table.title.split(" [")[0] for table in sections["cost"].tables] == ["Budget and cost", "Steps"]
    text = render_page(found)
    assert len(text) < 15_000_000
    assert render_page(gather(plan, store, rows)) == text
    assert str(tmp_path) not in text


def test_a_report_of_an_empty_store_says_what_is_not_there(tmp_path, dataset, synthesis, prediction):
    plan, _, rows = planned(tmp_path, dataset, synthesis, prediction)
    rows = [row.model_copy(update={"status": "not run", "scores": {}, "seeds": ()}) for row in rows]
    text = render_page(gather(plan, Store(tmp_path / "empty"), rows))
    assert "not run: the row has no result yet" in text


CHROMIUM = shutil.which("chromium")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_real_browser_opens_it_from_disk_without_a_complaint_or_a_request(
    tmp_path, dataset, synthesis, prediction, scheme
):
    plan, store, rows = planned(tmp_path, dataset, synthesis, prediction)
    gathered = gather(plan, store, rows)
    for name, text in (("gathered", render_page(gathered)), ("nasty", full_page())):
        path = tmp_path / f"{name}.html"
        path.write_text(text)
        log, shot = tmp_path / f"{name}.net.json", tmp_path / f"{name}.png"
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--enable-logging=stderr",
            f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}",
            f"--user-data-dir={tmp_path / 'chromium'}",
            f"--log-net-log={log}",
            f"--screenshot={shot}",
            "--window-size=1280,2400",
        ]
        done = subprocess.run(
            [CHROMIUM, *flags, path.as_uri()], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "CONSOLE" not in done.stderr
        assert "example.org" not in log.read_text()
        corner = Image.open(shot).convert("L").getpixel((4, 4))
        assert (corner < 64) == (scheme == "dark")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [500, 1440])
def test_nothing_reaches_into_the_margins_of_an_unfolded_page(tmp_path, dataset, synthesis, prediction, width):
    plan, store, rows = planned(tmp_path, dataset, synthesis, prediction)
    for name, text in (("gathered", render_page(gather(plan, store, rows))), ("nasty", full_page())):
        path, shot = tmp_path / f"{name}.html", tmp_path / f"{name}.png"
        path.write_text(text.replace("<details>", "<details open>"))
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
        flags += ["--blink-settings=preferredColorScheme=1", f"--user-data-dir={tmp_path / 'chromium'}"]
        flags += [f"--screenshot={shot}", f"--window-size={width},9000"]
        done = subprocess.run(
            [CHROMIUM, *flags, path.as_uri()], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        pixels = np.asarray(Image.open(shot).convert("L"))
        assert pixels.shape == (9000, width) and (pixels[:, width // 2] < 250).any()
        margin = 6 + max(0, width - 1376) // 2  # the first digit of an axis may stand in the rest
        for name_of_side, side in (("left", pixels[:, 2:margin]), ("right", pixels[:, -margin:-2])):
            assert (side == 255).all(), f"{name}: something stands in the {name_of_side} margin"


def test_every_class_has_a_colour_that_no_other_comes_near():
    """By the least distance in RGB; the benchmark's own car and truck lie 72 apart, bus and train 37."""
    colors = np.array([class_color(label.id, CITYSCAPES) for label in CITYSCAPES.things])
    apart = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 1000 * np.eye(len(colors))
    assert apart.min() > 90
    order = [label.name for label in CITYSCAPES.things]
    assert apart[order.index("car"), order.index("truck")] > 150
