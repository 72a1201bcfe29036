"""The image metrics of recipe `released` against what the authors' script computes, told again here, on 50 pairs."""

from pathlib import Path

import clip
import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from harness.quality.frechet import frechet_distance
from harness.quality.measurement import RELEASED, ClipSpec, FeatureSpec
from harness.quality.pairs import Networks, RawPair, load_networks, score

PAIRS = 50
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def rows() -> list[RawPair]:
    """Real crops of many sides, generated ones of 96 pixels that differ from them more and more."""
    rng, found = np.random.default_rng(0), []
    for pair in range(PAIRS):
        coarse = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
        side = int(rng.integers(20, 300))
        real = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
        near = np.asarray(Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC))
        generated = np.clip(near + rng.normal(0, 1 + pair, near.shape), 0, 255).astype(np.uint8)
        found.append(RawPair(pair, pair, "a photo of a red car", real, generated, np.ones((side, side), bool)))
    return found


def files(rows: list[RawPair], folder: Path) -> list[tuple[str, str]]:
    """The crops on disk, as the script reads them."""
    paths = []
    for row in rows:
        pair = str(folder / f"real_{row.pair}.png"), str(folder / f"generated_{row.pair}.png")
        for path, image in zip(pair, (row.real, row.generated), strict=True):
            Image.fromarray(image).save(path)
        paths.append(pair)
    return paths


def test_psnr_and_ssim(rows, tmp_path) -> None:
    ours = score(rows, RELEASED, Networks())["whole"]
    psnr, ssim = [], []
    for real, generated in files(rows, tmp_path):
        one, two = cv2.imread(real), cv2.imread(generated)
        one = cv2.resize(one, (two.shape[1], two.shape[0])).astype("float32")
        mse = np.mean((one - two.astype("float32")) ** 2)
        psnr.append(20 * np.log10(255.0 / np.sqrt(mse)))
        one, two = cv2.imread(real, cv2.IMREAD_GRAYSCALE), cv2.imread(generated, cv2.IMREAD_GRAYSCALE)
        ssim.append(structural_similarity(cv2.resize(one, (two.shape[1], two.shape[0])), two))
    np.testing.assert_allclose(ours["psnr"], psnr, rtol=1e-5)
    # The script makes grey before the resize, and OpenCV's reader of PNG cuts where its conversion rounds.
    np.testing.assert_allclose(ours["ssim"], ssim, atol=1e-3)
    assert np.mean(ours["ssim"]) == pytest.approx(np.mean(ssim), abs=2e-4)


def test_clip_score(rows, tmp_path) -> None:
    torch.manual_seed(0)
    sizes = {"vision_layers": 2, "vision_width": 64, "vision_patch_size": 32, "transformer_width": 64}
    drawn = clip.model.CLIP(
        32, 224, **sizes, context_length=77, vocab_size=49408, transformer_heads=1, transformer_layers=1
    )
    torch.save(drawn.state_dict(), tmp_path / "clip.pt")
    model, _ = clip.load(str(tmp_path / "clip.pt"), device="cpu")
    read = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
    again = transforms.Resize((224, 224), interpolation=InterpolationMode.BICUBIC)  # changes nothing any more
    ready = transforms.Compose([again, transforms.Normalize(MEAN, DEVIATION)])
    with torch.no_grad():
        both = [
            [model.encode_image(ready(torch.stack([read(Image.open(path))]))) for path in pair]
            for pair in files(rows, tmp_path)
        ]
        theirs = np.array([torch.cosine_similarity(real, generated).item() for real, generated in both])
    networks = load_networks({"clip": ClipSpec(weights=str(tmp_path / "clip.pt"))}, device="cpu", batch_size=16)
    ours = score(rows, RELEASED, networks)["whole"]["clip_i"]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    bicubic = score(rows, RELEASED.model_copy(update={"clip_squash": "bicubic"}), networks)["whole"]["clip_i"]
    assert np.abs(bicubic - theirs).max() > 1e-4, "the filter is seen"


@pytest.mark.slow
def test_fid(rows, tmp_path) -> None:
    """Inception at random weights: the script's pictures through the same network, and its formula."""
    from torchvision.models import inception_v3

    torch.manual_seed(0)
    drawn = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    torch.save(drawn.state_dict(), tmp_path / "inception.pth")
    spec = FeatureSpec(weights=str(tmp_path / "inception.pth"))
    networks = load_networks({"features": spec}, device="cpu", batch_size=8)
    ours = score(rows, RELEASED, networks)["whole"]
    read = transforms.Compose(
        [transforms.Resize((224, 224), interpolation=InterpolationMode.BICUBIC), transforms.ToTensor()]
    )
    statistics = []
    for side in (0, 1):
        pictures = [read(Image.open(pair[side]).convert("RGB")) for pair in files(rows, tmp_path)]
        with torch.no_grad():
            grown = [
                torch.nn.functional.interpolate(p[None], size=(299, 299), mode="bilinear", align_corners=False)
                for p in pictures
            ]
            found = np.concatenate([networks.features._network(2 * g - 1).flatten(1).numpy() for g in grown])
        np.testing.assert_allclose(ours[("real_features", "generated_features")[side]], found, rtol=1e-3, atol=1e-4)
        statistics.append((found.mean(axis=0, dtype=np.float64), np.cov(found.astype(np.float64), rowvar=False)))
    (mu1, sigma1), (mu2, sigma2) = statistics
    root = np.sqrt(np.abs(np.linalg.eigvals(sigma1 @ sigma2))).sum()  # the trace of the script's sqrtm
    theirs = (mu1 - mu2) @ (mu1 - mu2) + np.trace(sigma1) + np.trace(sigma2) - 2 * root
    assert frechet_distance(ours["real_features"], ours["generated_features"]) == pytest.approx(theirs, rel=1e-3)
