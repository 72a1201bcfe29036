"""A training that is killed goes on as if nothing had happened, and a budget is a budget."""

import pytest
import torch

from harness.tiny_training.loop import TimeBudget, fit


class KilledError(Exception):
    """Stands for kill -9: nothing runs after it."""


def run(state, steps, *, die_at=None):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)

    def loss_of(step):
        if step == die_at:
            raise KilledError
        source = torch.Generator().manual_seed(step)
        return (model(torch.randn(8, 3, generator=source)) - 1).square().mean()

    return fit(model, loss_of, budget=TimeBudget(minutes=1, steps=steps), state=state, device="cpu", rate=1e-2)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_killed_training_ends_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.tiny_training.loop._SAVE_EVERY", 0.0)
    whole, history = run(tmp_path / "whole.pt", 220)
    with pytest.raises(KilledError):
        run(tmp_path / "broken.pt", 220, die_at=130)
    resumed, again = run(tmp_path / "broken.pt", 220)
    assert same(whole, resumed)
    assert history.losses == again.losses
    assert history.steps == again.steps == 220
    assert history.losses[-1] < history.losses[0]


def test_a_finished_training_does_nothing_more(tmp_path):
    first, _ = run(tmp_path / "done.pt", 60)
    second, history = run(tmp_path / "done.pt", 60)
    assert history.steps == 60
    assert same(first, second)


def test_a_half_written_state_is_never_seen(tmp_path):
    run(tmp_path / "state.pt", 50)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_minutes_are_used_up_by_time_and_steps_by_steps():
    assert TimeBudget(minutes=2).spent(60, 10_000) == 0.5
    assert TimeBudget(minutes=2, steps=100).spent(1e9, 25) == 0.25
    assert TimeBudget(minutes=2).spent(1e9, 0) == 1.0
