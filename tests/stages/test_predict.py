"""Stage predict: official files for every frame, resume, errors."""

import json

import pytest
import toy

from harness.core.errors import HarnessError
from harness.core.progress import silent
from harness.data.tree import Tree
from harness.stages import predict, train


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root, out = toy.tree(tmp_path_factory.mktemp("tree")), tmp_path_factory.mktemp("train")
    train.run(train.TrainSpec(segmenter=toy.part(), backbone="convnext", seed=0), {"dataset": Tree(root)}, out, silent)
    return {"dataset": Tree(root), "train": out}


def spec(**inference):
    return predict.PredictSpec(segmenter=toy.part(inference=inference), backbone="convnext")


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_frame_has_its_answers(inputs, tmp_path):
    facts = predict.run(spec(), inputs, tmp_path, silent)
    assert facts == {"frames": 3, "tasks": ["instance", "semantic", "panoptic"]}
    names = [f"toy_{n:06d}_000019" for n in range(3)]
    assert sorted(p.stem for p in (tmp_path / "instances").glob("*.txt")) == names
    panoptic = json.loads((tmp_path / "panoptic/cityscapes_panoptic_val.json").read_text())
    assert [a["image_id"] for a in panoptic["annotations"]] == names


@pytest.mark.parametrize("batch_size", [1, 2])
def test_killed_and_resumed_gives_the_same_files(inputs, tmp_path, batch_size):
    def stop(done, total, note):
        raise KeyboardInterrupt

    predict.run(spec(batch_size=batch_size), inputs, tmp_path / "whole", silent)
    with pytest.raises(KeyboardInterrupt):
        predict.run(spec(batch_size=batch_size), inputs, tmp_path / "parts", stop)
    predict.run(spec(batch_size=batch_size), inputs, tmp_path / "parts", silent)
    assert files(tmp_path / "whole") == files(tmp_path / "parts")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("entries/toy_000001_000019.json", b'{"tasks": ["inst'),
        ("entries/toy_000001_000019.json", b""),
        ("entries/toy_000001_000019.json", b"[]"),
        ("semantic/toy_000001_000019_pred_labelIds.png", b"cut"),
        ("instances/toy_000001_000019.txt", None),
    ],
)
def test_damage_to_half_the_answers_is_said_and_the_frame_answered_again(inputs, tmp_path, caplog, name, content):
    def stop(done, total, note):
        if done == 2:
            raise KeyboardInterrupt

    predict.run(spec(batch_size=1), inputs, tmp_path / "whole", silent)
    with pytest.raises(KeyboardInterrupt):
        predict.run(spec(batch_size=1), inputs, tmp_path / "parts", stop)
    damaged = tmp_path / "parts" / name
    damaged.unlink() if content is None else damaged.write_bytes(content)
    predict.run(spec(batch_size=1), inputs, tmp_path / "parts", silent)
    assert f"{damaged} is damaged or gone: the frame toy_000001_000019 is answered again" in caplog.text
    assert files(tmp_path / "whole") == files(tmp_path / "parts")


def test_the_training_options_are_not_in_its_key():
    def key(one):
        return one.model_dump(mode="json", exclude=predict.PredictSpec.NOT_IN_KEY)

    longer = predict.PredictSpec(segmenter=toy.part(iterations=9), backbone="convnext")
    assert key(longer) == key(spec())
    assert key(spec(topk=2)) != key(spec())


def test_a_folder_without_a_training_is_named(inputs, tmp_path):
    with pytest.raises(HarnessError, match="no trained segmenter"):
        predict.run(spec(), inputs | {"train": tmp_path}, tmp_path / "out", silent)
