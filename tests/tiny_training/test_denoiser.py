"""What the three UNets are shown, and how two of them begin with the weights of the first."""

import copy

import numpy as np
import pytest
import torch

from harness.tiny_training.denoiser import build_unet, draw_times, inherit


@pytest.fixture(scope="module")
def start():
    torch.manual_seed(0)
    return build_unet("diff_inpainting")


def test_gligen_begins_where_inpainting_ended(start):
    """Its first convolution gives the same from (z, around, 1 - hole) as the other from (z, hole, around)."""
    unet = build_unet("gligen")
    inherit(unet, start, "gligen")
    z, around = torch.randn(1, 4, 16, 16), torch.randn(1, 4, 16, 16)
    hole = (torch.rand(1, 1, 16, 16) > 0.5).float()
    expected = start.conv_in(torch.cat([z, hole, around], 1))
    found = unet.conv_in(torch.cat([z, around, 1 - hole], 1))
    assert torch.allclose(expected[..., 1:-1, 1:-1], found[..., 1:-1, 1:-1], atol=1e-5)
    gates = [weight for name, weight in unet.named_parameters() if name.endswith(("alpha_attn", "alpha_dense"))]
    assert gates and all(float(gate) == pytest.approx(0.7) for gate in gates)


def test_open_gates_change_nothing_at_first(start):
    unet = build_unet("gligen")
    inherit(unet, start, "gligen")
    z, times, texts = torch.randn(1, 9, 32, 32), torch.tensor([500]), torch.randn(1, 16, 64)
    condition = {"boxes": torch.rand(1, 30, 4), "masks": torch.ones(1, 30)}
    condition["positive_embeddings"] = torch.randn(1, 30, 64)
    plain = copy.deepcopy(start)
    plain.conv_in.load_state_dict(unet.conv_in.state_dict())
    with torch.no_grad():
        heard = unet(z, times, texts, cross_attention_kwargs={"gligen": condition}).sample
        assert torch.allclose(heard, plain(z, times, texts).sample, atol=1e-5)


def test_the_base_begins_with_a_hole_everywhere(start):
    unet = build_unet("blended")
    inherit(unet, start, "blended")
    z = torch.randn(1, 4, 16, 16)
    expected = start.conv_in(torch.cat([z, torch.ones(1, 1, 16, 16), torch.zeros(1, 4, 16, 16)], 1))
    assert torch.allclose(expected[..., 1:-1, 1:-1], unet.conv_in(z)[..., 1:-1, 1:-1], atol=1e-5)


def test_half_of_the_times_lie_where_the_few_step_sampler_looks():
    from diffusers import LCMScheduler

    from harness.tiny_training.denoiser import _FEW_STEPS, SCHEDULE

    sampler = LCMScheduler(**{k: v for k, v in SCHEDULE.items() if k != "steps_offset"})
    sampler.set_timesteps(6)
    assert sampler.timesteps.tolist() == list(_FEW_STEPS)
    times = draw_times(np.random.default_rng(0), 20000)
    assert times.min() >= 0 and times.max() <= 999
    near = np.abs(times[:, None] - np.array(_FEW_STEPS)).min(1) <= 15
    assert 0.5 < near.mean() < 0.75
    assert (times < 150).mean() > 0.1
