"""The written-down encoder is the linear map it claims to be, whatever the picture."""

import numpy as np
import pytest
import torch

from harness.tiny_training.pool_crops import Pool
from harness.tiny_training.vae import Patchwise, build_vae, encode, patches, principal_components, to_tensor


def pool(count=40, seed=0):
    """Smooth random pictures: 8 x 8 pixels of noise, enlarged."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    noise = rng.integers(-20, 21, images.shape)
    images = (images.astype(int) + noise).clip(0, 255).astype(np.uint8)
    masks = np.zeros((count, 64, 64), bool)
    prompts = np.array(["a photo of a red car"] * count)
    return Pool(images=images, masks=masks, label_ids=np.zeros(count, np.int64), prompts=prompts)


@pytest.fixture(scope="module")
def vae():
    return build_vae(pool())


def test_the_encoder_projects_patches_on_their_components(vae):
    matrix, mean, scaling = principal_components(pool())
    images = to_tensor(pool(4, seed=1).images)
    expected = scaling * torch.einsum("cp,npij->ncij", matrix, patches(images) - mean[None, :, None, None])
    assert (encode(vae, images) - expected).abs().max() < 0.02
    assert expected.square().mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
def test_a_picture_far_from_the_mean_is_encoded_by_the_same_map(vae, level):
    images = torch.full((1, 3, 64, 64), level)
    assert (encode(vae, images) - Patchwise(vae)(images)).abs().max() < 0.03


def test_one_part_of_a_picture_does_not_change_the_latents_of_another(vae):
    image = to_tensor(pool(1).images)
    other = image.clone()
    other[:, :, :, 32:] = 1.0
    assert (encode(vae, image) - encode(vae, other))[:, :, :, :16].abs().max() < 0.02


def test_the_encoder_survives_half_precision(vae):
    import copy

    images = to_tensor(pool(2, seed=3).images)
    rounded = copy.deepcopy(vae).half().float()
    assert (encode(vae, images) - encode(rounded, images)).abs().max() < 0.02
