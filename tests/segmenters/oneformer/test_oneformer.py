"""OneFormer: batches, losses, answers; what the processor of transformers gets wrong."""

import numpy as np
import pytest
import torch
import toy

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.core.seeds import derive
from harness.data.cityscapes import CITYSCAPES
from harness.data.labels import Label, LabelSet
from harness.planning.suite import load_part
from harness.segmenters.base import SegmenterPart
from harness.segmenters.network import Sample
from harness.segmenters.oneformer.adapter import OneFormer
from harness.segmenters.oneformer.options import Inference, Model
from harness.segmenters.oneformer.text import Words
from harness.segmenters.options import Backbone, Training
from harness.segmenters.training import parameter_groups


def build(backbone="convnext", **model):
    torch.manual_seed(0)
    chosen = parse(Backbone, toy.BACKBONES[backbone], "toy")
    return OneFormer.build(chosen, parse(Model, toy.ONEFORMER | model, "toy"), CITYSCAPES)


def seed_of(task):
    """A seed whose crop is asked `task` where all three are."""
    order = ["instance", "semantic", "panoptic"]
    return next(seed for seed in range(100) if order[derive(seed, "task") % 3] == task)


def sample(number=0, seed=0, things=3):
    image, ids = toy.scene(number, things=things)
    return Sample(name=f"toy_{number:06d}_000019", image=image, ids=ids, seed=seed)


def test_texts_are_made_for_each_image_alone():
    network, seed = build(), seed_of("instance")
    two = network.collate([sample(1, seed), sample(2, seed)])
    alone = [network.collate([sample(n, seed)]) for n in (1, 2)]
    for index, batch in enumerate(alone):
        assert torch.equal(two["texts"][two["text_index"][index]], batch["texts"][batch["text_index"][0]])


def test_unique_texts_give_the_text_queries_of_all_texts():
    network = build(tasks=["panoptic"]).eval()
    batch = network.collate([sample(1), sample(2)])
    every = batch["texts"][batch["text_index"]]
    mapper = network.model.model.text_mapper
    whole = mapper(every)
    unique = mapper.text_projector(mapper.text_encoder(batch["texts"]))[batch["text_index"]]
    torch.testing.assert_close(unique, whole[:, : unique.shape[1]])
    assert whole.shape[1] == network.model.config.num_queries


def test_each_text_is_read_once_a_batch():
    network, read = build(tasks=["panoptic"]), []
    network.model.model.text_mapper.text_encoder.register_forward_hook(lambda _, given, __: read.append(given[0]))
    batch = network.collate([sample(1), sample(2), sample(3)])
    network(batch)
    assert len(read) == 1
    assert len(read[0]) == len(torch.unique(read[0], dim=0)) < batch["text_index"].numel()


def test_no_word_sees_a_later_one_nor_the_padding():
    network = build().eval()
    encoder = network.model.model.text_mapper.text_encoder
    text = torch.from_numpy(Words.of("compact", CITYSCAPES).tokens("a photo with a car"))[None]
    other = text.clone()
    other[text == 0] = 3
    assert (text == 0).any()
    torch.testing.assert_close(encoder(text), encoder(other), atol=0, rtol=0)
    changed = text.clone()
    changed[0, 1] += 1
    assert not torch.allclose(encoder(text), encoder(changed))


@pytest.mark.parametrize("backbone", ["swin", "convnext"])
@pytest.mark.parametrize("text", [True, False])
def test_a_step_reaches_every_parameter(backbone, text):
    network = build(backbone, text_contrastive=text)
    losses = network(network.collate([sample(1, seed=1), sample(2, seed=5)]))
    assert set(losses) == {"class", "mask", "dice"} | ({"text"} if text else set())
    sum(losses.values()).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None]
    # Swin's last norm belongs to its classifier; the feature maps have norms of their own.
    assert [name for name in idle if not name.endswith(("swin.layernorm.weight", "swin.layernorm.bias"))] == []


@pytest.mark.parametrize("task", ["instance", "semantic", "panoptic"])
def test_crops_without_things_or_with_void_alone_train(task):
    network, seed = build(), seed_of(task)
    void = Sample(name="void", image=np.zeros((64, 128, 3), np.uint8), ids=np.zeros((64, 128), np.int32), seed=seed)
    losses = network(network.collate([sample(things=0, seed=seed), void]))
    assert torch.isfinite(sum(losses.values()))


def test_a_crop_that_is_no_multiple_of_32_is_padded_with_its_masks():
    network = build()
    image, ids = toy.scene(0, size=(60, 100))
    batch = network.collate([Sample(name="odd", image=image, ids=ids, seed=seed_of("semantic"))])
    assert batch["pixels"].shape == (1, 3, 64, 128)
    assert batch["masks"][0].shape[1:] == (64, 128)
    assert not batch["masks"][0][:, 60:].any()
    assert not batch["pixels"][:, :, 60:].any()


def test_answers_have_the_size_of_the_image_and_the_tasks_share_features():
    network = build().eval()
    calls = []
    network.model.model.pixel_level_module.register_forward_hook(lambda *_: calls.append(1))
    image, _ = toy.scene(0, size=(60, 100))
    answers = network.predict([image, image], Inference(topk=5))
    assert len(calls) == 1
    assert answers[0].semantic.shape == answers[0].panoptic.shape == (60, 100)
    assert all(instance.mask.shape == (60, 100) for instance in answers[0].instances)
    assert (answers[0].semantic == answers[1].semantic).all()


@pytest.mark.parametrize("text", [True, False])
def test_dropout_is_on_in_training_and_off_in_answers(text):
    network = build(text_contrastive=text, dropout=0.5)
    inputs = network.collate([sample()])["pixels"]

    def maps():
        return network.model.model.pixel_level_module(inputs).decoder_last_feature

    network.train()
    assert not torch.equal(maps(), maps())
    network.eval()
    assert torch.equal(maps(), maps())


def test_the_task_changes_the_answer():
    network = build().eval()
    features = network.model.model.pixel_level_module(network.collate([sample()])["pixels"])
    classes = [network._decode(features, network._task_tokens([t])).prediction_class for t in ("instance", "semantic")]
    assert not torch.allclose(*classes)


def test_all_answers_may_come_from_the_panoptic_question():
    network = build(backbone="resnet").eval()
    network.keep_votes = True
    image, _ = toy.scene(0)
    asked = []
    plain = network._task_tokens
    network._task_tokens = lambda tasks: asked.append(tasks[0]) or plain(tasks)
    own, one = (network.predict([image], Inference(topk=5, questions=q))[0] for q in ("own", "panoptic"))
    assert asked == ["instance", "semantic", "panoptic", "panoptic"]
    assert (own.panoptic == one.panoptic).all()
    assert not np.array_equal(own.votes, one.votes)


def test_an_unknown_option_is_one_clear_error():
    with pytest.raises(HarnessError, match=r"oneformer.toml, model: unknown key 'querys'") as error:
        parse(SegmenterPart, toy.table(model={"querys": 3}), "oneformer.toml")
    assert "queries" in error.value.hint


def test_a_folder_that_is_not_there_says_what_it_must_hold(tmp_path):
    missing = Backbone(label="x", family="swin", checkpoint=str(tmp_path / "nowhere"))
    with pytest.raises(HarnessError, match="nowhere") as error:
        OneFormer.build(missing, parse(Model, toy.ONEFORMER, "toy"), CITYSCAPES)
    assert "config.json and model.safetensors" in error.value.hint and "harness convert" in error.value.hint


def test_a_public_checkpoint_loads_and_its_class_head_is_made_anew(tmp_path):
    network = build()
    config = network.model.config
    from transformers import OneFormerForUniversalSegmentation

    config.update({"num_labels": 65})
    OneFormerForUniversalSegmentation(config).save_pretrained(tmp_path)
    chosen = Backbone(label="x", family="convnext", checkpoint=str(tmp_path))
    loaded = OneFormer.build(chosen, parse(Model, toy.ONEFORMER, "toy"), CITYSCAPES)
    assert loaded.model.model.transformer_module.decoder.class_embed.out_features == 20
    assert torch.isfinite(sum(loaded(loaded.collate([sample()])).values()))


def test_what_a_checkpoint_filled_learns_at_its_own_rate(tmp_path):
    network = build()
    network.model.config.update({"num_labels": 65})
    type(network.model)(network.model.config).save_pretrained(tmp_path)
    chosen = Backbone(label="x", family="convnext", checkpoint=str(tmp_path), checkpoint_rate=0.1)
    loaded = OneFormer.build(chosen, parse(Model, toy.ONEFORMER, "toy"), CITYSCAPES)
    training = parse(Training, toy.TRAINING | {"learning_rate": 1.0, "backbone_rate": 0.5}, "toy")
    rates = {id(p): group["base"] for group in parameter_groups(loaded, training) for p in group["params"]}
    for name, parameter in loaded.named_parameters():
        backbone = name.startswith(loaded.backbone_prefix)
        anew = "class_embed" in name or not name.startswith("model.")
        expected = 1.0 if anew else 0.05 if backbone else 0.1
        assert rates[id(parameter)] == pytest.approx(expected), name


def test_the_shipped_network_fills_all_but_the_class_head():
    part = parse(SegmenterPart, *load_part("segmenters", "oneformer", "mini"))
    network = part.build("convnext", CITYSCAPES)
    anew = {name for name, _ in network.named_parameters() if name not in network.filled}
    assert anew and all("class_embed" in name for name in anew), anew


@pytest.mark.parametrize("names", [("apple", "pear"), ("a very long name of a fruit", "pear")], ids=["short", "long"])
@pytest.mark.parametrize("text", [True, False], ids=["texts", "no texts"])
def test_a_checkpoint_learns_classes_whose_names_have_other_lengths(names, text, tmp_path):
    model = {"text_contrastive": text, "vocabulary": "compact"}
    network = build(**model)
    network.model.save_pretrained(tmp_path)
    things = (Label(id=k + 1, name=name, train_id=k, is_thing=True) for k, name in enumerate(names))
    fruit = LabelSet(name="fruit", labels=(Label(id=0, name="void"), *things), divisor=256)
    chosen = Backbone(label="toy", checkpoint=str(tmp_path))
    found = OneFormer.build(chosen, parse(Model, toy.ONEFORMER | model, "toy"), fruit)
    ids = np.full((64, 64), 256, np.uint16)
    ids[:30, :30] = 513
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    losses = found.train()(found.collate([Sample(name="a", image=image, ids=ids, seed=3)]))
    assert all(torch.isfinite(loss) for loss in losses.values()) and ("text" in losses) == text
    assert len(found.predict([image], parse(Inference, {}, "toy"))) == 1
