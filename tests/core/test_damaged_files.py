"""No file that the harness reads ends in a traceback, however broken it is: one sentence, or what it held is not used.

Each case writes files and names the reader. Bytes are flipped, cut and put in; values of JSON become others; numbers of
TOML too. A reader may return or raise HarnessError, and nothing else.
"""

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import miniatures
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from result_rows import table1
from safetensors.torch import save_file

from harness.core import archive, contents, leases, upkeep
from harness.core.errors import HarnessError
from harness.core.index import index, rebuild
from harness.core.paths import REPOSITORY
from harness.core.store import Store
from harness.data import prediction_files
from harness.data.base import open_dataset
from harness.data.cityscapes import CITYSCAPES
from harness.data.polygons import read_polygons
from harness.data.prediction import Instance, Prediction, Segment
from harness.data.tree import Tree
from harness.metrics import evaluation
from harness.planning.plan import make_plan
from harness.planning.suite import as_dataset_part, load_part
from harness.report import evidence
from harness.results.baselines import read_baseline
from harness.results.rows import read_rows, write_rows
from harness.running.runfile import read_run, write_run
from harness.running.task import Task, task_of
from harness.segmenters import checkpoint
from harness.synthesis.manifest import ManifestEntry, read_manifest, render
from harness.weights.tensors import read_tensors

FRAME = "aa_000000_000019"


class Case(NamedTuple):
    """`write` fills a folder with whole files; `read` reads them; `touched`: a pattern of those that are broken."""

    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    touched: str = "**/*"


def ids() -> np.ndarray:
    found = np.full((24, 48), 7, np.int32)
    found[4:20, 4:20], found[6:22, 24:40] = 26001, 24002
    return found


def a_tree(root: Path) -> None:
    for split in ("train", "val"):
        Tree(root).write_frame(split, "aa", FRAME, np.zeros((24, 48, 3), np.uint8), ids())


def all_of(dataset: Any) -> None:
    for split in ("train", "val"):
        for frame in dataset.frames(split):
            frame.read_image()
            frame.read_ids()


def predictions(root: Path) -> None:
    a_tree(root / "tree")
    found = Prediction(
        instances=[Instance(ids() == i, i // 1000, 0.9) for i in (26001, 24002)],
        semantic=CITYSCAPES.label_of(ids()),
        panoptic=np.where(ids() == 26001, 1, np.where(ids() == 24002, 2, 3)),
        segments=(Segment(1, 26), Segment(2, 24), Segment(3, 7)),
    )
    prediction_files.write(root / "theirs", "val", FRAME, found, CITYSCAPES)
    prediction_files.finish(root / "theirs", "val", [FRAME], CITYSCAPES)
    box = {"size": [24, 48], "counts": [96, 16, 1040]}
    results = [{"image_id": FRAME, "category_id": 26, "segmentation": box, "score": 0.5, "bbox": [4, 4, 1, 16]}]
    (root / "theirs" / "coco.json").write_text(json.dumps(results))


def evaluated(root: Path) -> None:
    theirs = root / "theirs"
    given = {"instances": theirs / "instances", "semantic": theirs / "semantic", "panoptic": theirs / "panoptic"}
    evaluation.evaluate(Tree(root / "tree"), "val", engine="numpy", **given)
    evaluation.evaluate(Tree(root / "tree"), "val", engine="numpy", coco=theirs / "coco.json")


def a_store(root: Path) -> None:
    a_tree(root / "tree")
    folder = root / "predict" / "instances"
    folder.mkdir(parents=True)
    (folder / f"{FRAME}.txt").write_text("")
    store = Store(root / "store")
    store.open()
    scores = evaluation.evaluate(Tree(root / "tree"), "val", engine="numpy", instances=folder)
    partial = store.partial("evaluate", "0" * 20)
    scores.save(partial)
    made = {"kind": "evaluate", "key": "0" * 20, "version": 3, "facts": {"wall_s": 1.0}, "inputs": {}}
    store.commit("evaluate", "0" * 20, made | {"contents": contents.seal(partial)})
    upkeep.remember(store, "one", upkeep.RecordedRun("one", "smoke", ("0" * 20,)))
    index(store)
    list(archive.export(store, [("evaluate", "0" * 20)], root / "export.tar"))


def looked_through(root: Path) -> None:
    store = Store(root / "store")
    for look in (index, rebuild, upkeep.remembered, lambda s: list(upkeep.verify(s))):
        careful(lambda look=look: look(store))
    careful(lambda: store.intact("evaluate", "0" * 20))
    careful(lambda: evaluation.load(store.path("evaluate", "0" * 20)))
    careful(lambda: list(archive.import_(Store(root / "other"), root / "export.tar")))


def careful(read: Callable[[], Any]) -> None:
    """Read; whatever is refused by one sentence is as it should be."""
    try:
        read()
    except HarnessError as error:
        assert error.message and "Traceback" not in error.message and "weights_only" not in error.message


SUITE = """
title = "One row"
question = "q"
published = 1
seeds = [0, 1]
[[rows]]
method = "m"
generator = ["none", "own"]
segmenter = "own"
backbone = "convnext"
"""


def parts(root: Path) -> None:
    for kind, name in (("segmenters", "oneformer"), ("generators", "gligen"), ("profiles", "mini")):
        target = root / "configs" / kind / "own.toml"
        target.parent.mkdir(parents=True)
        shutil.copy(REPOSITORY / "configs" / kind / f"{name}.toml", target)
    (root / "one.toml").write_text(SUITE)


def planned(root: Path) -> None:
    here = os.getcwd()
    os.chdir(root)
    try:
        make_plan("one.toml", "mini")
    finally:
        os.chdir(here)


def some_tables(root: Path) -> None:
    write_rows(root / "rows.json", table1(seeds=2))
    shutil.copy(REPOSITORY / "results" / "baselines" / "controls-smoke.json", root / "baseline.json")


def tables_read(root: Path) -> None:
    careful(lambda: read_rows(root / "rows.json"))
    careful(lambda: read_baseline(root / "baseline.json"))


def tensors(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    found = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}
    save_file(found, root / "model.safetensors")
    torch.save({"model": found}, root / "model.pth")
    shutil.copy(REPOSITORY / "harness/weights/tiny/oneformer_convnext/config.json", root / "config.json")


def tensors_read(root: Path) -> None:
    careful(lambda: read_tensors(root / "model.safetensors"))
    careful(lambda: read_tensors(root / "model.pth"))
    careful(lambda: checkpoint.read(root))
    checkpoint.is_trained(root)


def polygons(root: Path) -> None:
    objects = [
        {"label": "road", "polygon": [[0, 0], [9, 0], [9, 9]]},
        {"label": "car", "polygon": [[1, 1], [5, 1], [5, 6]]},
    ]
    (root / "one.json").write_text(json.dumps({"imgHeight": 12, "imgWidth": 16, "objects": objects}))


def lines(root: Path) -> None:
    (root / "log.jsonl").write_text("".join(json.dumps({"step": n, "loss": 1.0 / n}) + "\n" for n in range(1, 9)))
    rectangle = (0, 0, 9, 9)
    made = ManifestEntry(
        status="made", name=FRAME, source=FRAME, city="aa", instance=26001, variant=0, class_name="car", label_id=26,
        area=80, seed=1, box=rectangle, square=rectangle,
    )  # fmt: skip
    (root / "manifest.jsonl").write_text(render([made] * 3))
    (root / "lease").mkdir()
    record = leases.LeaseRecord(token="t", host="h", pid=7, beat=3, done=1, total=9)
    (root / "lease" / leases.file_name(1)).write_text(record.model_dump_json())
    write_run([task()], Store(root))


def lines_read(root: Path) -> None:
    evidence._points(root / "log.jsonl", "loss")
    careful(lambda: read_manifest(root))
    leases.newest(root / "lease")
    for path in root.glob("runs/*"):
        careful(lambda path=path: read_run(path))


def task() -> Task:
    step = next(iter(make_plan("table1", "smoke").steps().values()))
    return task_of(step)


def opened(name: str) -> Callable[[Path], None]:
    """A reader of all frames of a shipped data set of others."""

    def read(root: Path) -> None:
        all_of(open_dataset(as_dataset_part(*load_part("datasets", name, "paper")), root))

    return read


CASES = {
    "tree": Case(a_tree, lambda root: all_of(Tree(root))),
    "predictions": Case(predictions, evaluated, "theirs/**/*"),
    "store": Case(a_store, looked_through),
    "parts": Case(parts, planned),
    "tables": Case(some_tables, tables_read),
    "tensors": Case(tensors, tensors_read),
    "polygons": Case(polygons, lambda root: read_polygons(root / "one.json", CITYSCAPES)),
    "lines": Case(lines, lines_read),
    "coco": Case(miniatures.coco_panoptic, opened("coco_panoptic")),
    "vistas": Case(miniatures.vistas, opened("vistas")),
    "kitti": Case(miniatures.kitti_step, opened("kitti_step")),
}

ODD: list[Any] = [
    None, True, -1, 0, 1.5, 10**40, "", "x", "../../x", "\x00", "é" * 300, [], [[]], {}, {"a": {}}, [1, 2, 3], "NaN"
]  # fmt: skip
RAW = [b"NaN", b"1e999", b"-Infinity", b"[" * 5000, b"9" * 5000, b"\xff\xfe", b"\x00", b"{", b'"', b"\n", b"=", b"]]"]

changes = st.one_of(
    st.tuples(st.just("flip"), st.floats(0, 1), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.floats(0, 1), st.just(0)),
    st.tuples(st.just("put"), st.floats(0, 1), st.integers(0, len(RAW) - 1)),
    st.tuples(st.just("value"), st.floats(0, 1), st.integers(0, len(ODD) - 1)),
    st.tuples(st.just("drop"), st.floats(0, 1), st.just(0)),
    st.tuples(st.just("gone"), st.floats(0, 1), st.just(0)),
)
"""What is done to a file, where in it, and by how much."""


def broken(content: bytes, kind: str, place: float, amount: int) -> bytes:
    at = min(int(place * len(content)), len(content) - 1)
    if kind == "flip":
        return content[:at] + bytes([content[at] ^ amount]) + content[at + 1 :]
    if kind == "cut":
        return content[:at]
    if kind == "put":
        return content[:at] + RAW[amount] + content[at:]
    return other_value(content, kind, place, amount)


def other_value(content: bytes, kind: str, place: float, amount: int) -> bytes:
    """JSON in which one value is another, or is not there; other content as it is."""
    try:
        whole = json.loads(content)
    except ValueError:
        return content
    places = list(inner([whole]))
    holder, key = places[int(place * (len(places) - 1))]
    if kind == "drop" and holder[key] is not whole:
        del holder[key]
    else:
        value = ODD[amount]
        if holder[key] is whole:
            whole = value
        else:
            holder[key] = value
    return json.dumps(whole).encode()


def inner(value: Any) -> Any:
    """Each place of a value: what holds it and its key there."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from inner(value[key])


@pytest.fixture(scope="module", params=sorted(CASES))
def whole(request, tmp_path_factory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param) / "whole"
    folder.mkdir()
    CASES[request.param].write(folder)
    CASES[request.param].read(folder)  # nothing is wrong with it yet
    return request.param, folder


def survives(name: str, folder: Path, scratch: Path, which: float, change: tuple[str, float, int]) -> None:
    """Break one file of a case and read."""
    case, copy = CASES[name], scratch / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    files = sorted(path for path in copy.glob(case.touched) if path.is_file())
    path = files[int(which * (len(files) - 1))]
    if change[0] == "gone":
        path.unlink()
    elif content := path.read_bytes():
        path.write_bytes(broken(content, *change))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        careful(lambda: case.read(copy))


FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def test_a_broken_file_is_one_sentence(whole, tmp_path):
    @FEW
    @given(which=st.floats(0, 1), change=changes)
    def holds(which, change):
        survives(*whole, tmp_path, which, change)

    holds()


@pytest.mark.slow
def test_many_broken_files_are_one_sentence_each(whole, tmp_path):
    @MANY
    @given(which=st.floats(0, 1), change=changes)
    def holds(which, change):
        survives(*whole, tmp_path, which, change)

    holds()
