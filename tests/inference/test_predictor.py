"""`harness predict`: trained and public checkpoints on images, resume, bad input."""

import json
import shutil

import numpy as np
import pytest
import torch
import toy
from PIL import Image

from harness.cli import _parser, _run
from harness.core.errors import HarnessError
from harness.core.progress import silent
from harness.data.cityscapes import CITYSCAPES
from harness.data.prediction import Instance, Prediction, Segment
from harness.data.tree import Tree
from harness.inference import predictor
from harness.metrics.evaluation import evaluate
from harness.stages import predict as stage
from harness.stages import train

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return toy.tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def trained(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("train")
    train.run(train.TrainSpec(segmenter=toy.part(), backbone="convnext", seed=0), {"dataset": Tree(tree)}, out, silent)
    return out


def harness(*arguments):
    return _run(["predict", *map(str, arguments)])


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_folder_of_frames_gives_what_the_stage_gives_and_pictures(tree, trained, tmp_path):
    val = tree / "leftImg8bit/val"
    assert harness(val, "--checkpoint", trained, "--output", tmp_path / "out", "--batch-size", 2) == 0
    spec = stage.PredictSpec(segmenter=toy.part(inference={"topk": 250}), backbone="convnext")
    stage.run(spec, {"dataset": Tree(tree), "train": trained}, tmp_path / "stage", silent)
    ours, theirs = files(tmp_path / "out"), files(tmp_path / "stage")
    assert {path for path in ours if path.parts[0] == "semantic"} == {p for p in theirs if p.parts[0] == "semantic"}
    where = tmp_path / "out"
    scores = evaluate(
        Tree(tree), "val", instances=where / "instances", semantic=where / "semantic", panoptic=where / "panoptic"
    ).scores
    assert None not in (scores["AP"], scores["PQ"], scores["IoU"])
    drawn = sorted(path.name for path in (where / "overlays").iterdir())
    assert drawn == [f"toy_{n:06d}_000019_{kind}.png" for n in range(3) for kind in ("instances", "panoptic")]


@pytest.mark.parametrize("how", [[], ["--inference", "sliding", "--crop", "64x64"]])
def test_killed_and_run_again_gives_the_same_files(tree, trained, tmp_path, how):
    options = _parser().parse_args(
        ["predict", str(tree), "--checkpoint", str(trained), "--output", str(tmp_path / "parts"), *how]
    )
    todo = predictor.pictures(tree / "leftImg8bit/val")
    asked = predictor.PredictSettings(inference=options.inference, crop=options.crop)

    def stop(done, total, note):
        raise KeyboardInterrupt

    predictor.predict(predictor.load(str(trained)), todo, tmp_path / "whole", asked)
    with pytest.raises(KeyboardInterrupt):
        predictor.predict(predictor.load(str(trained)), todo, tmp_path / "parts", asked, stop)
    first = tmp_path / "parts/entries" / f"{todo[0].name}.json"
    written = first.stat().st_mtime_ns
    predictor.predict(predictor.load(str(trained)), todo, tmp_path / "parts", asked)
    assert first.stat().st_mtime_ns == written, "a finished image is not answered again"
    assert files(tmp_path / "whole") == files(tmp_path / "parts")


def test_another_question_does_not_go_into_the_same_folder(tree, trained, tmp_path, capsys):
    val = tree / "leftImg8bit/val"
    assert harness(val, "--checkpoint", trained, "--output", tmp_path, "--threshold", 0.5) == 0
    assert harness(val, "--checkpoint", trained, "--output", tmp_path, "--threshold", 0.6) == 2
    assert "threshold was 0.5, now 0.6" in capsys.readouterr().err


def noise(path, size, seed, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)).save(path, **options)


def labelled(path):
    return np.asarray(Image.open(path))


def test_an_image_that_changed_is_answered_again_and_only_that_one(trained, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    for seed, name in enumerate("ab"):
        noise(images / f"{name}.png", (64, 128), seed)
    assert harness(images, "--checkpoint", trained, "--output", out) == 0
    kept = (out / "entries/b.json").stat().st_mtime_ns
    noise(images / "a.png", (40, 50), 7)
    assert harness(images, "--checkpoint", trained, "--output", out) == 0
    assert labelled(out / "semantic/a_pred_labelIds.png").shape == (40, 50)
    assert (out / "entries/b.json").stat().st_mtime_ns == kept


@pytest.mark.parametrize("how", ["changed", "deleted", "record cut"])
def test_an_answer_that_changed_is_given_again(trained, tmp_path, how):
    noise(tmp_path / "a.png", (64, 128), 0)
    assert harness(tmp_path / "a.png", "--checkpoint", trained, "--output", tmp_path / "out") == 0
    before = files(tmp_path / "out")
    answer, record = tmp_path / "out/semantic/a_pred_labelIds.png", tmp_path / "out/entries/a.json"
    if how == "changed":
        Image.fromarray(255 - labelled(answer)).save(answer)
    elif how == "deleted":
        answer.unlink()
    else:
        record.write_bytes(record.read_bytes()[:40])
    assert harness(tmp_path / "a.png", "--checkpoint", trained, "--output", tmp_path / "out") == 0
    assert files(tmp_path / "out") == before


def changed_weights(trained, folder, value):
    from safetensors.torch import load_file, save_file

    shutil.copytree(trained, folder)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name, one in sorted(weights.items()) if one.is_floating_point())
    weights[name] = torch.full_like(weights[name], value)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return name


def test_other_weights_under_the_same_name_do_not_answer_into_the_same_folder(trained, tmp_path, capsys):
    noise(tmp_path / "a.png", (64, 128), 0)
    shutil.copytree(trained, tmp_path / "net")
    assert harness(tmp_path / "a.png", "--checkpoint", tmp_path / "net", "--output", tmp_path / "out") == 0
    shutil.rmtree(tmp_path / "net")
    changed_weights(trained, tmp_path / "net", 0.25)
    assert harness(tmp_path / "a.png", "--checkpoint", tmp_path / "net", "--output", tmp_path / "out") == 2
    assert "predictions made otherwise: weights was" in capsys.readouterr().err


def test_weights_that_are_no_numbers_are_refused(trained, tmp_path, capsys):
    noise(tmp_path / "a.png", (64, 128), 0)
    name = changed_weights(trained, tmp_path / "net", float("nan"))
    assert harness(tmp_path / "a.png", "--checkpoint", tmp_path / "net", "--output", tmp_path / "out") == 2
    assert f"{name} are not finite" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_a_photograph_is_answered_as_a_viewer_shows_it(trained, tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    noise(tmp_path / "images/phone.jpg", (64, 128), 0, exif=turned)
    (picture,) = predictor.pictures(tmp_path / "images")
    assert picture.size == (128, 64)
    assert harness(tmp_path / "images", "--checkpoint", trained, "--output", tmp_path / "out") == 0
    assert labelled(tmp_path / "out/semantic/phone_pred_labelIds.png").shape == (128, 64)


def test_its_own_answers_are_no_input_and_linked_folders_are(trained, tmp_path):
    noise(tmp_path / "images/aa/a.png", (64, 128), 0)
    noise(tmp_path / "elsewhere/b.png", (64, 128), 1)
    (tmp_path / "images/bb").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "images")
    for _ in range(2):
        assert harness(tmp_path / "images", "--checkpoint", trained, "--output", tmp_path / "images/out") == 0
        assert [picture.name for picture in predictor.pictures(tmp_path / "images")] == ["a", "b"]


@pytest.mark.parametrize("split", ["../../x", "a b", "a\nb", ""])
def test_a_split_is_part_of_a_file_name_and_no_path(trained, tmp_path, capsys, split):
    noise(tmp_path / "a.png", (64, 128), 0)
    assert harness(tmp_path / "a.png", "--checkpoint", trained, "--output", tmp_path / "out", "--split", split) == 2
    assert "expected letters" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_refused(trained, tmp_path, capsys):
    noise(tmp_path / "a.png", (64, 128), 0)
    assert harness(tmp_path / "a.png", "--checkpoint", trained, "--output", tmp_path / "a.png") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_name_with_a_line_break_is_refused(trained, tmp_path, capsys):
    noise(tmp_path / "images/a\nb.png", (64, 128), 0)
    assert harness(tmp_path / "images", "--checkpoint", trained, "--output", tmp_path / "out") == 2
    assert "control characters" in capsys.readouterr().err


def test_one_image_and_images_of_several_sizes(trained, tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (64, 128)), ("b.JPG", (64, 128)), ("deep/c.png", (40, 50)), ("deep/.hid.png", (9, 9))):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(path)
    assert [p.name for p in predictor.pictures(tmp_path / "images")] == ["a", "b", "c"]
    assert harness(tmp_path / "images", "--checkpoint", trained, "--output", tmp_path / "all", "--batch-size", 3) == 0
    assert np.asarray(Image.open(tmp_path / "all/semantic/c_pred_labelIds.png")).shape == (40, 50)
    assert harness(tmp_path / "images/a.png", "--checkpoint", trained, "--output", tmp_path / "one") == 0
    assert [p.name for p in (tmp_path / "one/semantic").iterdir()] == ["a_pred_labelIds.png"]


def bad_images(tmp_path, kind):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.zeros((64, 128, 3), np.uint8)).save(folder / "good.png")
    if kind == "none":
        (folder / "good.png").unlink()
    elif kind == "empty":
        (folder / "bad.png").write_bytes(b"")
    elif kind == "broken":
        (folder / "bad.png").write_bytes(b"no picture")
    elif kind == "huge":
        (folder / "bad.png").write_bytes(b"P6 20000 20000 255\n")
    elif kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 255, (64, 128, 3), np.uint8)
        Image.fromarray(noise).save(folder / "bad.png")
        (folder / "bad.png").write_bytes((folder / "bad.png").read_bytes()[:9000])
    elif kind == "twice":
        shutil.copy(folder / "good.png", folder / "good.bmp")
    elif kind == "missing":
        shutil.rmtree(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("none", "no image in it"),
        ("missing", "no such file or folder"),
        ("empty", "bad.png: the file is empty"),
        ("broken", "bad.png: truncated or not a readable image"),
        ("huge", "bad.png: truncated or not a readable image: Image size (400000000 pixels) exceeds limit"),
        ("truncated", "bad.png: truncated"),
        ("twice", "would have the same results"),
    ],
)
def test_bad_images_are_named_and_end_with_2(trained, tmp_path, capsys, kind, words):
    folder = bad_images(tmp_path, kind)
    assert harness(folder, "--checkpoint", trained, "--output", tmp_path / "out") == 2
    assert words in capsys.readouterr().err


def test_bad_checkpoints_are_named_and_end_with_2(tree, trained, tmp_path, capsys):
    def told(*arguments):
        assert harness(tree / "leftImg8bit/val", "--output", tmp_path / "out", *arguments) == 2
        return capsys.readouterr().err

    assert "is no folder here" in told("--checkpoint", tmp_path / "nowhere")
    assert "not the folder of a training" in told("--checkpoint", tmp_path)
    assert "adapter 'oneformer', asked was 'fastinst'" in told("--checkpoint", trained, "--segmenter", "fastinst")
    assert "unknown segmenter 'onefromer'" in told("--checkpoint", trained, "--segmenter", "onefromer")
    other = ["--checkpoint", trained, "--segmenter", "oneformer", "--backbone", "swin"]
    assert "family 'convnext', asked was 'swin'" in told(*other)
    broken = shutil.copytree(trained, tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    config["shape"]["num_queries"] = 13
    (broken / "config.json").write_text(json.dumps(config))
    assert "another architecture" in told("--checkpoint", broken)
    assert not (tmp_path / "out").exists()


def public(trained, folder):
    """A training as transformers saves models: what a hub would give."""
    from harness.segmenters import checkpoint

    network = checkpoint.load(trained)
    network.model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    return folder, config


def test_a_public_checkpoint_answers_as_the_training_does(tree, trained, tmp_path, monkeypatch):
    folder, _ = public(trained, tmp_path / "public")
    monkeypatch.setattr(predictor, "_part", lambda name, profile: toy.part(inference={"topk": 250}))
    loaded = predictor.load(str(folder), "oneformer", "convnext")
    mine = predictor.load(str(trained))
    todo = predictor.pictures(tree / "leftImg8bit/val")
    for which, where in ((loaded, "a"), (mine, "b")):
        predictor.predict(which, todo, tmp_path / where, predictor.PredictSettings())
    for path in sorted((tmp_path / "b/instances").glob("*.txt")):
        lines = [(tmp_path / where / "instances" / path.name).read_text().split() for where in "ab"]
        scores = [np.array(line[2::3], float) for line in lines]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)  # tensors that lie elsewhere in memory round otherwise
    for path in sorted((tmp_path / "b/semantic").iterdir()):
        a, b = (np.asarray(Image.open(tmp_path / where / "semantic" / path.name)) for where in "ab")
        assert (a == b).mean() > 0.999


def test_a_public_checkpoint_for_other_classes_or_of_another_model_is_refused(trained, tmp_path, monkeypatch):
    folder, config = public(trained, tmp_path / "public")
    monkeypatch.setattr(predictor, "_part", lambda name, profile: toy.part())
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    heads = [name for name in tensors if "class_embed" in name and tensors[name].shape[:1] == (20,)]
    assert heads
    other = shutil.copytree(folder, tmp_path / "other")
    save_file(
        {name: value[:9].contiguous() if name in heads else value for name, value in tensors.items()},
        other / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(HarnessError, match=r"lacks \d+ tensors of this segmenter"):
        predictor.load(str(other), "oneformer", "convnext")
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mask2former"}))
    with pytest.raises(HarnessError, match="expected oneformer, found mask2former"):
        predictor.load(str(folder), "oneformer", "convnext")
    with pytest.raises(HarnessError, match="can't be read"):
        predictor.load("/no/where", "oneformer", "convnext")


def test_a_device_that_is_not_there_is_told(trained, tmp_path):
    image = tmp_path / "a.png"
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(image)
    with pytest.raises(HarnessError, match="device 'cuda:99'"):
        predictor.predict(
            predictor.load(str(trained)),
            predictor.pictures(image),
            tmp_path / "out",
            predictor.PredictSettings(device="cuda:99"),
        )


def test_only_what_is_sure_enough_is_drawn():
    from harness.inference.overlays import overlays

    image = np.full((60, 120, 3), 100, np.uint8)
    left, right = np.zeros((60, 120), bool), np.zeros((60, 120), bool)
    left[20:50, 5:50], right[20:50, 70:115] = True, True
    panorama = left * 1 + right * 2
    answer = Prediction(
        instances=[Instance(left, 26, 0.9), Instance(right, 24, 0.7)],
        panoptic=panorama.astype(np.int32),
        segments=(Segment(1, 26), Segment(2, 24)),
    )
    for kind in ("instances", "panoptic"):
        drawn = overlays(image, answer, 0.8, CITYSCAPES)[kind]
        assert (drawn[left] != 100).any(axis=1).all()
        assert (drawn[:, 60:] == 100).all()
        assert (overlays(image, answer, 0.6, CITYSCAPES)[kind][right] != 100).any()
    assert (image == 100).all(), "the image itself is left alone"
    assert set(overlays(image, Prediction(instances=[]), 0.8, CITYSCAPES)) == {"instances"}
    semantic = overlays(image, Prediction(semantic=np.full((60, 120), 7, np.uint8)), 0.8, CITYSCAPES)["semantic"]
    assert semantic[0, 0].tolist() == [114, 82, 114]
