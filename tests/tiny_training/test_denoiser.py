"""What the three UNets are shown, holes in it, and how two of them begin with the weights of the first."""

import copy

import numpy as np
import pytest
import torch

from harness.tiny_training.denoiser import boxes_of, build_unet, draw_times, grown, holes, inherit


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


def silhouettes(count):
    masks = torch.zeros(count, 64, 64, dtype=torch.bool)
    masks[:, 20:40, 10:50] = True
    masks[:, 20:25, 10:20] = False
    return masks


def test_a_hole_covers_the_object_and_its_rim():
    masks = silhouettes(40)
    found = holes(masks, np.random.default_rng(0), box_share=0.5)
    assert found[grown(masks)].all(), "a rim of the old object would tell its colour"
    assert found.sum((1, 2)).max() < 0.6 * 64 * 64
    assert len(found.flatten(1).sum(1).unique()) > 3, "holes differ"


def test_box_holes_are_boxes_and_silhouettes_are_not():
    masks = silhouettes(20)
    for found in holes(masks, np.random.default_rng(0), box_share=1.0):
        x0, y0, x1, y1 = boxes_of(found[None])[0].tolist()
        assert found[y0:y1, x0:x1].all() and x0 in (7, 8, 9)
    assert not holes(masks, np.random.default_rng(0), box_share=0.0)[:, 18:22, 8:16].all((1, 2)).any()


def test_holes_at_the_border_stay_inside():
    every = torch.ones(3, 64, 64, dtype=torch.bool)
    for share in (0.0, 1.0):
        assert holes(every, np.random.default_rng(0), box_share=share).all()


def test_grown_masks_have_their_neighbours():
    mask = torch.zeros(1, 9, 9, dtype=torch.bool)
    mask[0, 4, 4] = mask[0, 0, 0] = True
    found = grown(mask)[0]
    assert found[3:6, 3:6].all() and found[:2, :2].all() and found.sum() == 13


def test_boxes_of_many_masks_are_half_open_and_an_empty_one_is_the_whole():
    masks = torch.cat([silhouettes(1), torch.zeros(1, 64, 64, dtype=torch.bool)])
    assert boxes_of(masks).tolist() == [[10, 20, 50, 40], [0, 0, 64, 64]]
