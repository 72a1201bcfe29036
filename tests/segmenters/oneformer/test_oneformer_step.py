"""One optimizer step of OneFormer against the formulae of its authors' code, told again here: losses, gradients and
new weights, with the same network, crops and points. And bf16 against fp32."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toy
from scipy.optimize import linear_sum_assignment
from torch import nn

from harness.core.config import parse
from harness.core.seeds import derive
from harness.data.cityscapes import CITYSCAPES
from harness.data.mix import Mix, Stream
from harness.data.tree import Tree
from harness.segmenters.loader import Loader
from harness.segmenters.oneformer.adapter import OneFormer
from harness.segmenters.oneformer.options import Model
from harness.segmenters.options import Backbone, Training
from harness.segmenters.training import LOG, train

POINTS = 128
QUESTIONS = {"tasks": ["panoptic"]}


def lattice(*shape, device=None):
    """Points that depend on their number alone, so that both sides, which draw in another order, see the same."""
    values = torch.from_numpy(np.random.default_rng(shape[-2]).random((shape[-2], 2), dtype=np.float32))
    return values.expand(*shape[:-2], shape[-2], 2).clone()


def build(backbone):
    torch.manual_seed(0)
    still = {"config": toy.BACKBONES[backbone]["config"] | {"drop_path_rate": 0.0}}
    chosen = parse(Backbone, toy.BACKBONES[backbone] | still, "toy")
    model = toy.ONEFORMER | QUESTIONS | {"points": POINTS, "decoder_layers": 3}
    return OneFormer.build(chosen, parse(Model, model, "toy"), CITYSCAPES).train()


def stream_of(root):
    return Stream(labels=CITYSCAPES, real=tuple(Tree(root).frames("train")), synthetic=(), mix=Mix(), seed=3)


def read_at(maps, points):
    """point_sample of detectron2: bilinear, points in 0..1."""
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, align_corners=False)[..., 0]


@torch.no_grad()
def matched(classes, masks, target, points):
    """HungarianMatcher for one image: rows and columns of the cheapest assignment."""
    seen = read_at(masks[:, None], points.expand(len(masks), -1, -1))[:, 0]
    wanted = read_at(target.masks[:, None], points.expand(len(target.masks), -1, -1))[:, 0]
    positive = F.binary_cross_entropy_with_logits(seen, torch.ones_like(seen), reduction="none")
    negative = F.binary_cross_entropy_with_logits(seen, torch.zeros_like(seen), reduction="none")
    bce = (positive @ wanted.T + negative @ (1 - wanted).T) / seen.shape[1]
    likely = seen.sigmoid()
    dice = 1 - (2 * likely @ wanted.T + 1) / (likely.sum(-1)[:, None] + wanted.sum(-1)[None] + 1)
    rows, columns = linear_sum_assignment(5 * bce - 2 * classes.softmax(-1)[:, target.labels] + 5 * dice)
    return torch.as_tensor(rows), torch.as_tensor(columns)


def layer_losses(classes, masks, targets):
    """loss_labels and loss_masks of SetCriterion for one layer, weighted."""
    pairs = [matched(c, m, t, lattice(1, POINTS, 2)) for c, m, t in zip(classes, masks, targets, strict=True)]
    wanted = torch.full(classes.shape[:2], classes.shape[-1] - 1)
    weight = torch.full(classes.shape[:2], 0.1)
    for image, (rows, columns) in enumerate(pairs):
        wanted[image, rows], weight[image, rows] = targets[image].labels[columns], 1.0
    kinds = torch.ones(classes.shape[-1])
    kinds[-1] = 0.1
    ce = F.cross_entropy(classes.transpose(1, 2), wanted, kinds, reduction="none").sum() / weight.sum()
    count = max(sum(len(target.labels) for target in targets), 1)
    ours = torch.cat([masks[i, rows] for i, (rows, _) in enumerate(pairs)])[:, None]
    theirs = torch.cat([targets[i].masks[columns] for i, (_, columns) in enumerate(pairs)])[:, None]
    with torch.no_grad():
        many = lattice(len(ours), 3 * POINTS, 2)
        hardest = (-read_at(ours, many)[:, 0].abs()).topk(int(0.75 * POINTS), dim=1).indices
        chosen = torch.stack([points[index] for points, index in zip(many, hardest, strict=True)])
        points = torch.cat([chosen, lattice(len(ours), POINTS - chosen.shape[1], 2)], dim=1)
        labels = read_at(theirs, points)[:, 0]
    logits = read_at(ours, points)[:, 0]
    bce = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1).sum() / count
    likely = logits.sigmoid()
    dice = (1 - (2 * (likely * labels).sum(-1) + 1) / (likely.sum(-1) + labels.sum(-1) + 1)).sum() / count
    return {"class": 2 * ce, "mask": 5 * bce, "dice": 5 * dice}


def official_losses(network, batch):
    """What the authors' model returns in training, summed over layers by name."""
    model = network.model.model
    features = model.pixel_level_module(batch["pixels"])
    decoded = model.transformer_module(
        multi_scale_features=features.decoder_features,
        mask_features=features.decoder_last_feature,
        task_token=model.task_encoder(batch["tasks"]),
    )
    targets = [
        SimpleNamespace(labels=k, masks=m.float()) for k, m in zip(batch["classes"], batch["masks"], strict=True)
    ]
    layers = [(a["class_queries_logits"], a["masks_queries_logits"]) for a in decoded.auxiliary_predictions]
    every = [layer_losses(*layer, targets) for layer in [(decoded.prediction_class, decoded.prediction_masks), *layers]]
    losses = {name: sum(layer[name] for layer in every) for name in every[0]}
    texts = model.text_mapper(batch["texts"][batch["text_index"]])  # all texts of every image, each read on its own
    image = F.normalize(decoded.contrastive_logits.flatten(1), dim=-1)
    text = F.normalize(texts.flatten(1), dim=-1)
    scale = network.logit_scale.exp().clamp(max=100)
    same = torch.arange(len(image))
    contrast = F.cross_entropy(image @ text.T * scale, same) + F.cross_entropy(text @ image.T * scale, same)
    return losses | {"text": 0.5 * contrast}


def official_step(network, gradients, *, rate=1e-4, decay=0.05):
    """The first AdamW step (Loshchilov & Hutter 2019, algorithm 2) with the authors' rates and decays by parameter."""
    norms = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)
    new = {}
    for prefix, module in network.named_modules():
        for name, value in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}".lstrip(".")
            lr = rate * (0.1 if ".encoder." in full and "pixel_level_module.encoder" in full else 1.0)
            plain = isinstance(module, (*norms, nn.Embedding)) or "relative_position_bias_table" in name
            plain = plain or "positional_embedding" in full  # ours; theirs lets the texts' positions decay
            g = gradients[full]
            value = value.detach() * (1 - lr * (0.0 if plain else decay))
            new[full] = value if g is None else value - lr * g / (g.abs() + 1e-8)
    return new


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return toy.tree(tmp_path_factory.mktemp("tree"))


@pytest.mark.parametrize("backbone", ["swin", "convnext"])
def test_one_step_is_the_authors_step(root, tmp_path, monkeypatch, backbone):
    monkeypatch.setattr(torch, "rand", lattice)
    network, reference = build(backbone), build(backbone)
    wanted = toy.TRAINING | {"iterations": 1, "learning_rate": 1e-4, "backbone_rate": 0.1, "log_every": 1}
    training = Training.model_validate_json(json.dumps(wanted | {"trackers": []}))
    stream = stream_of(root)

    batch = Loader(stream, training, reference.collate).batch(0, 0)
    losses = official_losses(reference, batch)
    parameters = dict(reference.named_parameters())
    found = torch.autograd.grad(sum(losses.values()), list(parameters.values()), allow_unused=True)
    gradients = dict(zip(parameters, found, strict=True))

    ours = network(batch)
    assert {name: value.item() for name, value in ours.items()} == pytest.approx(
        {name: value.item() for name, value in losses.items()}, rel=1e-5
    )
    sum(ours.values()).backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) == (gradients[name] is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-6, msg=name)
            parameter.grad = None

    weights = train(network, stream, None, training, out=tmp_path / "run")
    logged = json.loads((tmp_path / "run" / LOG).read_text().splitlines()[0])
    assert logged["loss"] == pytest.approx(sum(losses.values()).item(), rel=1e-5)
    compared = 0
    for name, expected in official_step(reference, gradients).items():
        sure = torch.ones_like(expected, dtype=torch.bool)
        if gradients[name] is not None:  # Adam's first step is the sign of the gradient: where that is noise, so is it
            sure = gradients[name].abs() > 1e-5
        torch.testing.assert_close(weights[name][sure], expected[sure], rtol=1e-5, atol=1e-7, msg=name)
        compared += int(sure.sum())
    assert compared > 0.5 * sum(p.numel() for p in parameters.values())


@pytest.mark.parametrize("name", ["oneformer", "mask2former", "fastinst"])
def test_bf16_is_near_fp32(name, root):
    part = toy.part(name)
    torch.manual_seed(0)
    network = part.build("resnet" if name != "oneformer" else "swin", CITYSCAPES)
    batch = Loader(stream_of(root), part.training, network.collate).batch(0, 0)
    found = {}
    for precision in (False, True):
        torch.manual_seed(derive(0, "points"))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision), torch.no_grad():
            found[precision] = {loss: value.item() for loss, value in network(batch).items()}
    assert found[True] != found[False], "autocast does something"
    assert sum(found[True].values()) == pytest.approx(sum(found[False].values()), rel=0.02)
    for loss, value in found[False].items():
        assert found[True][loss] == pytest.approx(value, rel=0.1), loss
