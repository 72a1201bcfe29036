"""The engine: schedule, groups, order, resume, what it says of a broken loss."""

import json

import pytest
import torch
import toy
from torch import nn

from harness.core.errors import HarnessError
from harness.data.cityscapes import CITYSCAPES
from harness.data.mix import Mix, Stream
from harness.data.tree import Tree
from harness.segmenters.checkpoint import DAMAGED
from harness.segmenters.options import Training
from harness.segmenters.training import LOG, STATE, Loader, parameter_groups, rate, train


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return toy.tree(tmp_path_factory.mktemp("tree"))


def training(**changes):
    return Training.model_validate_json(json.dumps(toy.TRAINING | changes))


def stream(root, seed=0, split="train"):
    return Stream(labels=CITYSCAPES, real=tuple(Tree(root).frames(split)), synthetic=(), mix=Mix(), seed=seed)


class Small(nn.Module):
    """A network that learns the mean colour: enough to see what the engine does with one."""

    backbone_prefix = "backbone."
    filled: frozenset[str] = frozenset()

    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)
        self.broken_at = None
        self.calls = 0

    def collate(self, samples):
        images = torch.stack([torch.from_numpy(sample.image.copy()) for sample in samples])
        return {"pixels": images.permute(0, 3, 1, 2) / 255.0, "names": [sample.name for sample in samples]}

    def forward(self, batch):
        self.calls += 1
        features = self.drop(self.norm(self.backbone(batch["pixels"]))).mean((2, 3))
        loss = (self.head(features) - batch["pixels"].mean((2, 3))).square().mean()
        return {"colour": loss * float("nan") if self.calls == self.broken_at else loss}


def small():
    torch.manual_seed(0)
    return Small()


class KilledError(Exception):
    pass


def run(root, out, *, until=None, network=None, **changes):
    def report(done, total, note):
        if until is not None and done >= until:
            raise KilledError

    weights = train(network or small(), stream(root), None, training(**changes), out=out, report=report)
    return {name: value.clone() for name, value in weights.items()}


def test_poly_and_step_schedules():
    poly = training(iterations=100, warmup=10)
    assert rate(poly, 0) == pytest.approx(0.1)
    assert rate(poly, 50) == pytest.approx(0.5**0.9)
    step = training(iterations=100, schedule="step", milestones=[0.5, 0.9])
    assert [rate(step, s) for s in (0, 49, 50, 90)] == pytest.approx([1, 1, 0.1, 0.01])
    assert rate(training(schedule="constant"), 3) == 1.0


def test_backbone_has_its_rate_and_norms_do_not_decay():
    network = small()
    groups = parameter_groups(network, training(backbone_rate=0.1, learning_rate=1.0))
    by = {id(p): (g["base"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert len(by) == len(list(network.parameters()))
    assert by[id(network.backbone.weight)] == (0.1, 0.05)
    assert by[id(network.norm.weight)] == by[id(network.norm.bias)] == (1.0, 0.0)
    assert by[id(network.head.bias)] == (1.0, 0.05)


def test_same_seed_same_weights(root, tmp_path):
    first, again = run(root, tmp_path / "a"), run(root, tmp_path / "b")
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"accumulate": 2}, {"checkpoint_every": 2, "log_every": 3}])
def test_killed_and_resumed_is_the_same_to_the_last_bit(root, tmp_path, changes):
    whole = run(root, tmp_path / "whole", iterations=7, **changes)
    for until in (3, 5):
        with pytest.raises(KilledError):
            run(root, tmp_path / "parts", until=until, iterations=7, **changes)
    assert (tmp_path / "parts" / STATE).is_file()
    resumed = run(root, tmp_path / "parts", iterations=7, **changes)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert (tmp_path / "parts" / LOG).read_text() == (tmp_path / "whole" / LOG).read_text()


@pytest.mark.parametrize("damage", [lambda kept: kept[: len(kept) // 2], lambda _: b"", lambda kept: kept[::-1]])
def test_a_damaged_state_is_set_aside_and_the_training_begins_anew(root, tmp_path, caplog, damage):
    whole = run(root, tmp_path / "whole", iterations=5)
    with pytest.raises(KilledError):
        run(root, tmp_path / "parts", until=3, iterations=5)
    state = tmp_path / "parts" / STATE
    state.write_bytes(damage(state.read_bytes()))
    again = run(root, tmp_path / "parts", iterations=5)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert "begins anew" in caplog.text and (tmp_path / "parts" / DAMAGED).is_file()


@pytest.mark.parametrize("changes", [{"workers": 3}, {"cache_mb": 0}])
def test_loader_threads_and_cache_change_nothing(root, tmp_path, changes):
    plain, other = run(root, tmp_path / "a"), run(root, tmp_path / "b", **changes)
    assert all(torch.equal(plain[name], other[name]) for name in plain)


def test_the_parts_of_an_accumulated_batch_are_its_draws(root):
    whole = Loader(stream(root), training(batch_size=4), list)
    parts = Loader(stream(root), training(batch_size=4, accumulate=2), list)
    assert whole.draws(3, 0) == parts.draws(3, 0) + parts.draws(3, 1)
    ranks = [Loader(stream(root), training(batch_size=4), list, rank=r, ranks=2).draws(3, 0) for r in range(2)]
    assert set(whole.draws(3, 0)) == set(ranks[0] + ranks[1])


def test_a_loss_that_is_not_finite_stops_with_step_frames_and_state(root, tmp_path):
    network = small()
    network.broken_at = 3
    with pytest.raises(HarnessError, match=r"step 3 of 4.*colour nan.*toy_\d{6}_000019.*state\.pt"):
        run(root, tmp_path, network=network)
    assert torch.load(tmp_path / STATE, weights_only=True)["step"] == 2


def test_the_first_step_broken_says_that_nothing_is_kept(root, tmp_path):
    network = small()
    network.broken_at = 1
    with pytest.raises(HarnessError, match="no state has been written yet"):
        run(root, tmp_path, network=network)


def test_losses_are_logged_and_val_losses_do_not_disturb(root, tmp_path):
    plain = run(root, tmp_path / "plain", iterations=6)
    checked = train(
        small(),
        stream(root),
        stream(root, split="val"),
        training(iterations=6, validate_every=2),
        out=tmp_path / "checked",
    )
    assert all(torch.equal(plain[name], checked[name]) for name in plain)
    rows = [json.loads(line) for line in (tmp_path / "checked" / LOG).read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert all({"loss", "colour", "lr", "val_loss"} <= set(row) for row in rows)
    assert list((tmp_path / "checked").glob("**/events.out.tfevents*"))


def test_the_running_mean_is_kept_instead_of_the_last_weights(root, tmp_path):
    last, mean = run(root, tmp_path / "a"), run(root, tmp_path / "b", ema=0.5)
    assert not torch.equal(last["head.weight"], mean["head.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 3, "accumulate": 2}, "accumulate 2 does not divide batch_size 3"),
        ({"milestones": [1.5]}, "shares of the iterations"),
        ({"crop": [16, 64]}, "at least 32"),
        ({"iterations": 0}, "greater than or equal to 1"),
    ],
)
def test_training_options_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        training(**changes)
