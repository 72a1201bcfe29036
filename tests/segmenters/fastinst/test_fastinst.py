"""FastInst: what its queries are, what they may look at, what they are matched with, and that it learns."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import toy

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.data.mix import Mix
from harness.data.tree import Tree
from harness.segmenters.criterion import Layer, Matching
from harness.segmenters.fastinst.adapter import FastInst
from harness.segmenters.fastinst.decoder import Attention, DualPathLayer, State, attention_mask, waves
from harness.segmenters.fastinst.network import allowed
from harness.segmenters.fastinst.options import Inference, Model
from harness.segmenters.fastinst.proposals import pick
from harness.segmenters.network import Sample
from harness.segmenters.options import Backbone

BACKBONE, MODEL = toy.BACKBONES["resnet"], toy.FASTINST


def build(**model):
    torch.manual_seed(0)
    return FastInst.build(Backbone(**BACKBONE), Model(**MODEL | model), CITYSCAPES)


def sample(number=0, things=3, size=(64, 128)):
    image, ids = toy.scene(number, things=things, size=size)
    return Sample(name=f"toy_{number:06d}_000019", image=image, ids=ids, seed=number)


def naive_pick(chances, count):
    """Scores of the paper's selection with loops: [h, w]."""
    classes, height, width = chances.shape
    score = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            kind = max(range(classes), key=lambda c: chances[c, y, x])
            own = chances[kind, y, x]
            around = [
                chances[kind, v, u] if max(range(classes), key=lambda c, v=v, u=u: chances[c, v, u]) == kind else 0.0
                for v in range(max(0, y - 1), min(height, y + 2))
                for u in range(max(0, x - 1), min(width, x + 2))
            ]
            score[y, x] = own + (own >= max(around) and own >= 1e-6)
    return np.argsort(-score.ravel(), kind="stable")[:count]


def test_importing_the_adapter_imports_no_torch():
    code = "import sys, harness.segmenters.fastinst.adapter; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("seed", range(5))
def test_queries_are_the_peaks_then_the_best_of_the_rest(seed):
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.ones(4), size=(7, 9)).transpose(2, 0, 1)[:3]
    found = pick(torch.from_numpy(chances)[None], 20, 1e-6)[0].tolist()
    assert found == naive_pick(chances, 20).tolist()


def test_a_neighbour_of_another_class_does_not_hide_a_peak():
    chances = torch.zeros(1, 2, 3, 3)
    chances[0, 0, 1, 1], chances[0, 1, 1, 2] = 0.4, 0.9
    assert pick(chances, 2, 1e-6)[0].tolist() == [5, 4]


def test_a_faint_peak_takes_no_query_from_a_likely_cell():
    chances = torch.zeros(1, 1, 3, 5)
    chances[0, 0, 1, :2], chances[0, 0, 1, 4] = torch.tensor([0.9, 0.8]), 0.01
    assert pick(chances, 2, 1e-6)[0].tolist() == [5, 9]
    assert pick(chances, 2, 0.05)[0].tolist() == [5, 6]


def test_there_are_never_more_queries_than_cells():
    assert sorted(pick(torch.rand(2, 3, 2, 4), 100, 1e-6)[0].tolist()) == list(range(8))
    network = build(queries=100)
    batch = network.collate([sample()])
    decoded = network.decoder(network._maps(batch["pixels"]))
    assert decoded.layers[-1].classes.shape == (1, 4 * 8, len(CITYSCAPES.things) + 1)
    assert torch.isfinite(sum(network(batch).values()))


def test_an_attention_mask_never_leaves_a_query_blind_and_frees_the_auxiliary_ones():
    seen = torch.ones(2, 3, 2, 2, dtype=torch.bool)
    seen[0, 0] = False
    seen[1, 2, 0, 1] = False
    found = attention_mask(seen, free=2)
    assert found.shape == (2, 1, 5, 4)
    assert (~found).nonzero().tolist() == [[1, 0, 2, 1]]


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours = Attention(32, 4)
    x, where, memory, places = (torch.randn(2, n, 32) for n in (5, 5, 12, 12))
    seen = attention_mask(torch.rand(2, 5, 3, 4) < 0.5, free=0)
    expected, _ = ours.attention(
        x + where, memory + places, memory, attn_mask=~seen.expand(-1, 4, -1, -1).flatten(0, 1), need_weights=False
    )
    assert torch.allclose(ours(x, where, memory, places, seen), ours.norm(x + expected), atol=1e-6)


def test_a_query_does_not_see_what_is_hidden():
    torch.manual_seed(0)
    layer = DualPathLayer(32, 2, 64).eval()
    queries, pixels, where, places = (torch.randn(1, n, 32) for n in (5, 12, 5, 12))
    changed = pixels.clone()
    changed[0, 7] += 10
    seen = torch.ones(1, 5, 3, 4, dtype=torch.bool)

    def run(shown):
        return layer(State(queries, shown), where, places, attention_mask(seen, free=0)).queries

    assert not torch.allclose(run(pixels), run(changed))
    seen[:, :, 1, 3] = False  # pixel 7
    assert torch.equal(run(pixels), run(changed))


def test_a_query_inside_the_object_is_matched_before_one_with_the_better_mask():
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[0, 8:24, 8:24] = True
    good = torch.where(mask[0, ::8, ::8], 9.0, -9.0)
    layer = Layer(torch.zeros(1, 2, len(CITYSCAPES.things) + 1), torch.stack([good, -good])[None])
    locations = torch.tensor([[[0.9, 0.9], [0.25, 0.25]]])
    match = {cost: build(location_cost=cost) for cost in (0.0, 1000.0)}
    matched = {
        cost: network._match([layer], [torch.tensor([2])], [mask], locations).queries.item()
        for cost, network in match.items()
    }
    assert matched == {0.0: 0, 1000.0: 1}


def test_guidance_shows_each_matched_query_its_object_and_the_others_everything():
    masks = [torch.zeros(2, 32, 64, dtype=torch.bool), torch.zeros(0, 32, 64, dtype=torch.bool)]
    masks[0][0, :8, :16] = True
    masks[0][1, 31, 63] = True  # too small for the map
    last = Layer(torch.zeros(2, 4, 9), torch.zeros(2, 4, 4, 8))
    matching = Matching(torch.tensor([[0, 1], [2, 3]]), torch.tensor([0, 0]))
    free = allowed(last, matching, masks)
    assert free.shape == (2, 4, 4, 8)
    assert free[0, 2].nonzero().tolist() == [[0, 0], [0, 1]]
    assert not free[0, 3].any()
    assert free[0, :2].all()
    assert free[1].all()
    assert attention_mask(free, free=1)[0, 0, 3].all()


@pytest.mark.parametrize(("guided", "predictions"), [(True, 5), (False, 3)])
def test_guided_predictions_are_supervised_by_the_match_of_the_last_one(guided, predictions, monkeypatch):
    network = build(guided=guided)
    seen = []
    original = network.criterion.losses

    def losses(layers, classes, masks, matching):
        seen.append((layers, matching))
        return original(layers, classes, masks, matching)

    monkeypatch.setattr(network.criterion, "losses", losses)
    network(network.collate([sample(1), sample(2)]))
    ((layers, matching),) = seen
    assert len(layers) == len(matching.queries) == predictions
    assert all(torch.equal(matching.queries[k], matching.queries[-1]) for k in range(predictions - 3))


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"stride": 4},
        {"located": True},
        {"auxiliary_queries": 0},
        {"points": 0},
        {"layers": 1},
        {"semantic_weight": 1.0},
    ],
)
def test_a_step_reaches_every_parameter(model):
    network = build(**model)
    losses = network(network.collate([sample(1), sample(2)]))
    assert set(losses) == {"class", "mask", "dice", "proposal"} | (
        {"semantic"} if "semantic_weight" in model else set()
    )
    sum(losses.values()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None and p.numel()] == []


def test_frozen_norms_stay_what_they_are():
    network = build(frozen_norms=True)
    norms = {name: value.clone() for name, value in network.state_dict().items() if "normalization" in name}
    network.train()
    sum(network(network.collate([sample()])).values()).backward()
    assert norms
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in norms.items())
    assert not any("normalization" in name for name, _ in network.named_parameters())


def test_recomputed_activations_give_the_same_gradients():
    gradients = []
    for recompute in (False, True):
        network = build(frozen_norms=True).train()
        if recompute:
            network.checkpoint_gradients()
        torch.manual_seed(1)
        sum(network(network.collate([sample(1)])).values()).backward()
        gradients.append({name: p.grad for name, p in network.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


@pytest.mark.parametrize("things", [0, 40])
@pytest.mark.parametrize("size", [(64, 128), (60, 100), (33, 47)])
def test_no_thing_many_things_and_odd_sizes_train_and_predict(things, size):
    network = build()
    batch = network.collate([sample(things=things, size=size)])
    assert all(side % 32 == 0 for side in batch["pixels"].shape[-2:])
    assert torch.isfinite(sum(network(batch).values()))
    (answer,) = network.eval().predict([sample(size=size).image], Inference(topk=5))
    assert answer.semantic is None and answer.panoptic is None
    assert all(instance.mask.shape == size for instance in answer.instances)
    assert {instance.label_id for instance in answer.instances} <= {label.id for label in CITYSCAPES.things}


def test_only_things_are_targets():
    network = build()
    batch = network.collate([sample(1), sample(2, things=0)])
    assert [len(classes) for classes in batch["classes"]][1] == 0
    assert {CITYSCAPES.things[k].id for k in batch["classes"][0].tolist()} <= {toy.PERSON, toy.CAR}


def test_an_image_is_answered_alike_alone_and_in_a_batch():
    network = build().eval()
    images = [sample(n).image for n in (1, 2)]
    together = network.predict(images, Inference(topk=4))
    for image, answer in zip(images, together, strict=True):
        (alone,) = network.predict([image], Inference(topk=4))
        assert [i.label_id for i in alone.instances] == [i.label_id for i in answer.instances]
        np.testing.assert_allclose(
            [i.score for i in alone.instances], [i.score for i in answer.instances], rtol=1e-4, atol=1e-6
        )


def test_weights_that_are_not_finite_give_a_loss_that_says_so():
    network = build()
    with torch.no_grad():
        network.decoder.proposal.head[2].bias.fill_(float("nan"))
    assert not torch.isfinite(sum(network(network.collate([sample()])).values()))


def test_another_family_is_one_clear_error():
    with pytest.raises(HarnessError, match="toy Swin: FastInst takes the family 'resnet', found 'swin'"):
        FastInst.build(Backbone(**toy.BACKBONES["swin"]), Model(**MODEL), CITYSCAPES)


def test_the_loss_falls():
    network = build()
    batch = network.collate([sample(1), sample(2)])
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    values = []
    for step in range(25):
        torch.manual_seed(step)
        loss = sum(network(batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert np.mean(values[-3:]) < 0.7 * np.mean(values[:3])


def trained(tmp_path, part, *, split="val", **counts):
    from harness.stages import predict, train

    root = toy.tree(tmp_path / "tree", **counts)
    spec = train.TrainSpec(segmenter=part, backbone="resnet", mix=Mix(), seed=0)
    train.run(spec, {"dataset": Tree(root)}, tmp_path / "train", lambda *_: None)
    spec = predict.PredictSpec(segmenter=part, backbone="resnet", split=split)
    facts = predict.run(
        spec, {"dataset": Tree(root), "train": tmp_path / "train"}, tmp_path / "predict", lambda *_: None
    )
    return root, facts


def test_it_trains_is_read_back_and_predicts_through_the_stages(tmp_path):
    _, facts = trained(tmp_path, toy.part("fastinst"))
    assert facts["frames"] == 3
    assert facts["tasks"] == ["instance"]
    assert len(list((tmp_path / "predict" / "instances").glob("*.txt"))) == 3


def test_a_trained_folder_is_a_place_to_start_from(tmp_path):
    trained(tmp_path, toy.part("fastinst"))
    from harness.segmenters import checkpoint

    first = checkpoint.load(tmp_path / "train")
    again = FastInst.build(Backbone(**BACKBONE | {"checkpoint": str(tmp_path / "train")}), Model(**MODEL), CITYSCAPES)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.named_parameters())


@pytest.mark.slow
def test_four_images_are_learned_by_heart(tmp_path):
    from harness.metrics.evaluation import evaluate

    still = {"iterations": 400, "batch_size": 4, "flip": 0.0, "colour_jitter": False, "short_sides": [64]}
    still |= {"learning_rate": 2e-3, "checkpoint_every": 400, "warmup": 20, "grad_clip": 5.0}
    root, _ = trained(tmp_path, toy.part("fastinst", **still), split="train", train=4, val=1)
    scores = evaluate(Tree(root), "train", instances=tmp_path / "predict" / "instances").scores
    assert scores["AP50"] > 0.8


def test_positions_are_made_on_the_device_that_holds(monkeypatch):
    """torch keeps the set of functions that a default device holds for, perhaps made with another linspace."""
    plain = torch.linspace
    monkeypatch.setattr(torch, "linspace", lambda *arguments, **named: plain(*arguments, **{"device": "cpu"} | named))
    with torch.device("meta"):
        assert waves(8, 4).is_meta
