"""PSNR, SSIM and the measurement recipes: equal to scikit-image, and honest about regions and sizes."""

import numpy as np
import pytest
from pydantic import ValidationError
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from harness.core.errors import HarnessError
from harness.quality.measurement import (
    CORRECTED,
    FILL,
    RELEASED,
    Measurement,
    caption,
    region_of,
    resized,
    resized_mask,
    shown,
    signature,
    sized,
)
from harness.quality.structural import grey, psnr, ssim, structure


def _noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _near(image: np.ndarray, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 12, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _disc(side: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    return x**2 + y**2 < (side / 3) ** 2


@pytest.mark.parametrize("shape", [(7, 7), (64, 64), (97, 53), (300, 200)])
def test_pixel_metrics_are_those_of_scikit_image(shape: tuple[int, int]) -> None:
    real = _noise(*shape)
    flat = np.full(shape, 200, np.uint8)
    for generated in (_noise(*shape, seed=9), _near(real), flat, 255 - real):
        assert ssim(real, generated) == pytest.approx(structural_similarity(real, generated), abs=1e-9)
        assert psnr(real, generated) == pytest.approx(peak_signal_noise_ratio(real, generated), abs=1e-9)
    colour, near = _noise(*shape, 3), _near(_noise(*shape, 3))
    assert psnr(colour, near) == pytest.approx(peak_signal_noise_ratio(colour, near), abs=1e-9)


def test_regional_ssim_is_the_mean_of_the_map_over_the_region() -> None:
    real = _noise(60, 60)
    generated, mask = _near(real), _disc(60)
    _, similarity = structural_similarity(real, generated, full=True)
    inner = np.zeros_like(mask)
    inner[3:-3, 3:-3] = True
    assert ssim(real, generated, mask) == pytest.approx(similarity[mask & inner].mean(), abs=1e-9)
    assert ssim(real, generated, ~mask) == pytest.approx(similarity[~mask & inner].mean(), abs=1e-9)


def test_regional_psnr_sees_the_region_alone() -> None:
    real, mask = _noise(40, 40, 3), _disc(40)
    generated = np.where(mask[:, :, None], _near(real), real)
    assert psnr(real, generated, ~mask) == float("inf")
    error = np.square(real[mask].astype(float) - generated[mask].astype(float)).mean()
    assert psnr(real, generated, mask) == pytest.approx(10 * np.log10(255**2 / error), abs=1e-9)


def test_identity_is_told_region_by_region() -> None:
    real, mask = _noise(40, 40, 3), _disc(40)
    generated = np.where(mask[:, :, None], 255 - real, real)
    assert [structure(real, generated, region_of(mask, r)).identical for r in ("whole", "inside", "outside")] == [
        False,
        False,
        True,
    ]
    same = structure(real, real)
    assert (same.psnr, same.ssim, same.identical) == (float("inf"), pytest.approx(1.0, abs=1e-12), True)


def test_ssim_is_undefined_where_no_window_fits() -> None:
    assert ssim(_noise(6, 6), _noise(6, 6, seed=1)) is None
    corner = np.zeros((20, 20), bool)
    corner[0, 0] = True
    assert ssim(_noise(20, 20), _noise(20, 20, seed=1), corner) is None


@pytest.mark.parametrize(
    ("real", "generated", "region", "message"),
    [
        (_noise(8, 8), _noise(8, 9), None, "one shape"),
        (_noise(8, 8), _noise(8, 8).astype(float), None, "float64"),
        (_noise(8, 8), _noise(8, 8), np.zeros((8, 8), bool), "0 pixels"),
        (_noise(8, 8), _noise(8, 8), np.ones((9, 8), bool), "bool array of shape"),
        (_noise(8, 8, 3), _noise(8, 8, 3), None, "grey"),
    ],
)
def test_wrong_pairs_are_refused(real, generated, region, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        ssim(real, generated, region)


def test_grey_is_the_usual_luma() -> None:
    image = _noise(30, 30, 3)
    luma = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey(image) - luma).max() < 1


def test_released_measures_at_the_generators_own_side() -> None:
    real, mask = _noise(40, 40, 3), _disc(40)
    generated = _noise(64, 64, 3, seed=2)
    pair = sized(RELEASED, real, generated, mask)
    assert pair.real.shape == pair.generated.shape == (64, 64, 3)
    assert pair.mask.shape == (64, 64)
    assert pair.generated is generated
    # OpenCV's bilinear: a constant stays, and the middle of four pixels is their mean.
    two = np.array([[[0] * 3, [100] * 3], [[100] * 3, [200] * 3]], np.uint8)
    assert resized(two, 1, "bilinear")[0, 0].tolist() == [100, 100, 100]


def test_corrected_measures_all_at_one_side() -> None:
    recipe = CORRECTED.model_copy(update={"size": 48})
    for side in (32, 48, 100):
        pair = sized(recipe, _noise(40, 40, 3), _noise(side, side, 3), _disc(40))
        assert pair.real.shape == pair.generated.shape == (48, 48, 3)


def test_mask_keeps_its_area_at_any_side() -> None:
    mask = _disc(90)
    for side in (30, 64, 200):
        assert resized_mask(mask, side).mean() == pytest.approx(mask.mean(), abs=0.02)


def test_networks_see_one_region_on_grey() -> None:
    image, mask = _noise(40, 40, 3), _disc(40)
    assert shown(image, mask, "whole") is image
    inside, outside = shown(image, mask, "inside"), shown(image, mask, "outside")
    assert (inside[mask] == image[mask]).all()
    assert (inside[~mask] == FILL).all()
    assert (outside[mask] == FILL).all()
    assert (outside[~mask] == image[~mask]).all()


def test_a_recipe_without_a_size_must_say_what_networks_see() -> None:
    with pytest.raises(ValidationError, match="squash"):
        Measurement(name="own")


def test_signature_says_how() -> None:
    text = signature("SSIM", RELEASED, "whole", {"window": "7 uniform", "n": 12, "error": None})
    assert text == (
        "SSIM|recipe:released|size:generated, real bilinear|region:whole|variants:first|window:7 uniform|n:12"
    )
    assert "size:512 lanczos" in signature("PSNR", CORRECTED, "inside", {})


def test_caption_takes_the_prefix_of_hessel_only_where_it_is_missing() -> None:
    assert caption("a photo of a red car") == "a photo of a red car"
    assert caption(" A photo  of a man ") == "A photo of a man"
    assert caption("a red car") == "A photo depicts a red car"
    with pytest.raises(HarnessError, match="empty"):
        caption("  ")
