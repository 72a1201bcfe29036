"""The adapter on the real detectron2: the pure-Python part of a rebuild on the package index, fetched for this test.

The rebuild lacks its compiled part, so two shims stand in: a name that Pillow dropped, and an empty `detectron2._C`.
"""

import json
import os
import subprocess
import sys
import tarfile

import pytest

from harness.core.paths import REPOSITORY

REBUILD = "pb1-detectron2==0.6"
NEEDED = (
    "fvcore", "iopath", "portalocker", "omegaconf", "hydra-core", "antlr4-python3-runtime==4.9.3", "cloudpickle",
    "tabulate", "termcolor", "yacs",
)  # fmt: skip

DRIVER = """
import json, sys, types
from pathlib import Path
import PIL.Image
PIL.Image.LINEAR = PIL.Image.BILINEAR
sys.modules["detectron2._C"] = types.ModuleType("detectron2._C")
import torch
torch.set_num_threads(1)
from harness.inference import predictor
from harness.data import streets
from harness.data.tree import Tree
from harness.data.mix import Mix
from harness.core.errors import HarnessError
from harness.metrics.evaluation import evaluate
from harness.core.progress import silent
from harness.segmenters.base import SEGMENTERS
from harness.segmenters.base import SegmenterPart
from harness.stages import predict, train

work = Path(sys.argv[1])
assert SEGMENTERS.load("detectron2").missing() == ""
streets.render(work / "tree", seed=0, counts={"train": 4, "val": 2}, size=(96, 192), report=silent)
SMALL = {
    "MODEL.WEIGHTS": "", "MODEL.RESNETS.DEPTH": 18, "MODEL.RESNETS.RES2_OUT_CHANNELS": 64, "MODEL.RESNETS.NORM": "BN",
    "MODEL.BACKBONE.FREEZE_AT": 0,
}
OPTIONS = {
    "MODEL.FPN.OUT_CHANNELS": 16, "MODEL.ANCHOR_GENERATOR.SIZES": [[8], [16], [32], [64], [128]],
    "MODEL.ROI_BOX_HEAD.FC_DIM": 32, "MODEL.ROI_MASK_HEAD.CONV_DIM": 16, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 16,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0, "TEST.DETECTIONS_PER_IMAGE": 5,
    "INPUT.MIN_SIZE_TRAIN": [96], "INPUT.MIN_SIZE_TEST": 96, "SOLVER.BASE_LR": 0.002, "SOLVER.WARMUP_ITERS": 2,
}

def part(masks="polygon", **changed):
    return SegmenterPart.model_validate_json(json.dumps({
        "label": "tiny", "adapter": "detectron2",
        "backbones": {"r18": {"label": "R18", "family": "resnet", "config": SMALL}},
        "model": {
            "config": "Cityscapes/mask_rcnn_R_50_FPN.yaml", "options": OPTIONS | {"INPUT.MASK_FORMAT": masks} | changed
        },
        "training": {"iterations": 6, "batch_size": 2, "checkpoint_every": 1, "log_every": 1},
        "inference": {},
    }))

def fit(name, report=silent, **options):
    spec = train.TrainSpec(segmenter=part(**options), backbone="r18", seed=0)
    return train.run(spec, {"dataset": Tree(work / "tree")}, work / name, report)

def stop(done, total, note):
    if done == 3:
        raise KeyboardInterrupt

facts = fit("whole")
try:
    fit("parts", stop)
except KeyboardInterrupt:
    pass
fit("parts")
fit("runs", masks="bitmask")
inputs = {"dataset": Tree(work / "tree"), "train": work / "whole"}
found = predict.run(predict.PredictSpec(segmenter=part(), backbone="r18"), inputs, work / "answers", silent)
scores = evaluate(Tree(work / "tree"), "val", instances=work / "answers" / "instances").scores
loaded = predictor.load(str(work / "whole"))
images = predictor.pictures(work / "tree" / "leftImg8bit" / "val")
asked = predictor.PredictSettings(inference="sliding", crop=(96, 96))
tasks = predictor.predict(loaded, images, work / "slid", asked)
errors = []
for options in ({"SOLVER.BASE_LR": 1e30, "SOLVER.CLIP_GRADIENTS.ENABLED": False}, {"MODEL.NO_SUCH_KEY": 1}):
    try:
        fit("bad", **options)
    except HarnessError as error:
        errors.append(str(error))
print(json.dumps({"facts": facts, "found": found, "AP": scores["AP"], "tasks": tasks, "errors": errors}))
"""


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """Folders for the path: the unpacked rebuild and what it needs."""
    folder = tmp_path_factory.mktemp("detectron2")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    download = ["download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", str(folder), REBUILD]
    subprocess.run([*pip, *download], check=True, timeout=300)
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "needed"), *NEEDED], check=True, timeout=300)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return [str(path.parent.parent) for path in folder.glob("*/detectron2/__init__.py")] + [str(folder / "needed")]


@pytest.mark.slow
def test_a_tiny_mask_rcnn_trains_resumes_and_predicts(fetched, tmp_path):
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *fetched]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path)], capture_output=True, text=True, env=variables, timeout=900
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["facts"]["images_seen"] == 12
    assert said["facts"]["real_images"] == 4
    assert said["found"] == {"frames": 2, "tasks": ["instance"]}
    assert said["tasks"] == ["instance"]
    assert said["AP"] is not None
    for name in ("model.safetensors", "config.json", "log.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert {p.name for p in (tmp_path / "parts").iterdir()} == {"config.json", "model.safetensors", "log.jsonl"}
    logs = [(tmp_path / run / "log.jsonl").read_text().splitlines() for run in ("whole", "runs")]
    records = [[json.loads(line) for line in lines] for lines in logs]
    assert [record["step"] for record in records[0]] == [1, 2, 3, 4, 5, 6]
    assert {"loss_mask", "loss_cls", "loss_rpn_cls"} <= records[0][0].keys()
    # Polygons along the pixels and run lengths are the same masks; only their resizing differs.
    assert records[0][0]["loss_mask"] == pytest.approx(records[1][0]["loss_mask"], rel=0.05)
    lines = [path.read_text().splitlines() for path in sorted((tmp_path / "answers" / "instances").glob("*.txt"))]
    assert len(lines) == 2
    assert any(lines)
    assert "loss is not finite" in said["errors"][0]
    assert "MODEL.NO_SUCH_KEY" in said["errors"][1]
