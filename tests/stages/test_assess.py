"""The assess stage on small syntheses written by hand: values, counts, signatures, resume, bad input."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.core.progress import silent
from harness.quality.frechet import frechet_distance
from harness.quality.measurement import ClipSpec, FeatureSpec, LpipsSpec, Measurement
from harness.stages import assess
from harness.stages.assess import AssessSpec
from harness.synthesis.manifest import ManifestEntry, render
from harness.tiny_training.tokenizer import build_tokenizer

PIXELS = AssessSpec(
    metrics=("SSIM", "PSNR"),
    recipes=(
        Measurement(name="released", resize="bilinear", squash=224, variants="first", regions=("whole",)),
        Measurement(name="corrected", size=40),
    ),
)


def _picture(side: int, seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


def _write(folder: Path, entries: list[ManifestEntry], images: dict[str, np.ndarray]) -> Path:
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name)
    (folder / "manifest.jsonl").write_text(render(entries))
    return folder


def _synthesis(folder: Path, *, frames: int = 4, change: str = "inside", side: int = 40) -> Path:
    """Two variants of one instance per frame; `change`: "inside" repaints the mask, "nothing" returns the crop."""
    entries, images = [], {}
    for frame in range(frames):
        source, native = f"aachen_{frame:06d}_000019", 30 + frame
        mask = np.zeros((native, native), np.uint8)
        mask[5:-5, 8:-8] = 255
        real = _picture(native, frame)
        files = {"real": f"crops/real/{source}.png", "mask": f"crops/mask/{source}.png"}
        images |= {files["real"]: real, files["mask"]: mask}
        for variant in range(2):
            painted = np.array(Image.fromarray(real).resize((side, side))) if side != native else real.copy()
            if change == "inside":
                hole = np.array(Image.fromarray(mask).resize((side, side))) > 127
                painted[hole] = _picture(side, 100 + 10 * frame + variant)[hole]
            if change == "nothing":
                painted = real
            generated = f"crops/generated/{source}_{variant}.png"
            images[generated] = painted
            entries.append(
                ManifestEntry(
                    status="made", name=f"aachen-26000-{variant}_{frame:06d}_000019", source=source, city="aachen",
                    instance=26000, variant=variant, class_name="car" if frame % 2 else "bus", label_id=26, area=100,
                    box=(0, 0, 9, 9), square=(0, 0, native, native), prompt="a photo of a red car", phrase="car",
                    seed=1, generated=generated, **files,
                )
            )  # fmt: skip
    skipped = entries[0].model_copy(
        update={"status": "skipped", "reason": "empty mask", "generated": None, "real": None}
    )
    return _write(folder, [*entries, skipped], images)


def _run(spec: AssessSpec, synthesis: Path, out: Path) -> dict:
    facts = assess.run(spec, {"synthesis": synthesis}, out, silent)
    scores = json.loads((out / "scores.json").read_text())
    assert facts["headline"] == scores["headline"]
    return scores


def _entry(scores: dict, metric: str, recipe: str, region: str) -> dict:
    (found,) = [s for s in scores["scores"] if (s["metric"], s["recipe"], s["region"]) == (metric, recipe, region)]
    return found


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A random CLIP of the tiny kind and a random AlexNet; the embedded feature network at a small side."""
    from clip.model import CLIP
    from safetensors.torch import save_file
    from tokenizers import Tokenizer
    from torchvision.models import alexnet

    folder = tmp_path_factory.mktemp("networks")
    build_tokenizer(folder)
    torch.manual_seed(0)
    words = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    save_file(CLIP(32, 32, 1, 64, 8, 16, words, 64, 1, 1).state_dict(), folder / "clip.safetensors")
    save_file(alexnet(weights=None).state_dict(), folder / "alexnet.safetensors")
    return {
        "clip": ClipSpec(model="tiny", weights=str(folder / "clip.safetensors"), tokenizer=str(folder)),
        "features": FeatureSpec(network="efficientnet-lite0", side=64),
        "lpips": LpipsSpec(weights=str(folder / "alexnet.safetensors")),
    }


def test_released_scores_are_those_of_scikit_image_by_hand(tmp_path: Path) -> None:
    import cv2

    synthesis = _synthesis(tmp_path / "synthesis")
    scores = _run(PIXELS, synthesis, tmp_path / "out")
    ssims, psnrs = [], []
    for frame in range(4):
        stem = f"aachen_{frame:06d}_000019"
        real = cv2.resize(cv2.imread(str(synthesis / f"crops/real/{stem}.png")), (40, 40))
        generated = cv2.imread(str(synthesis / f"crops/generated/{stem}_0.png"))
        grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (real, generated)]
        ssims.append(structural_similarity(*grey))
        psnrs.append(peak_signal_noise_ratio(real, generated))
    assert scores["SSIM"] == pytest.approx(np.mean(ssims), abs=1e-9)
    assert scores["PSNR"] == pytest.approx(np.mean(psnrs), abs=1e-9)
    assert scores["SSIM.released.whole"] == scores["SSIM"]
    assert (scores["n_images"], scores["counts"]) == (4, {"pairs": 8, "instances": 4, "identical": 0})
    assert scores["classes"]["bus"]["PSNR"] == pytest.approx((psnrs[0] + psnrs[2]) / 2, abs=1e-9)
    assert scores["classes"]["car"]["instances"] == 2


def test_corrected_tells_the_instance_from_its_surroundings(tmp_path: Path) -> None:
    scores = _run(PIXELS, _synthesis(tmp_path / "synthesis"), tmp_path / "out")
    inside, outside = (scores[f"PSNR.corrected.{region}"] for region in ("inside", "outside"))
    assert inside + 10 < outside
    assert scores["SSIM.corrected.inside"] + 0.2 < scores["SSIM.corrected.outside"]
    assert _entry(scores, "PSNR", "corrected", "inside")["n"] == 8
    assert "region:inside" in _entry(scores, "SSIM", "corrected", "inside")["signature"]


def test_a_generator_that_changes_nothing_does_not_poison_the_mean(tmp_path: Path) -> None:
    scores = _run(PIXELS, _synthesis(tmp_path / "synthesis", change="nothing"), tmp_path / "out")
    psnr = _entry(scores, "PSNR", "released", "whole")
    assert (psnr["value"], psnr["n"], psnr["n_identical"], psnr["note"]) == (None, 0, 4, "all pairs are identical")
    assert scores["SSIM"] == pytest.approx(1)
    assert scores["counts"]["identical"] == 4


def test_identical_pairs_are_counted_and_left_out_of_psnr_alone(tmp_path: Path) -> None:
    changed, same = _synthesis(tmp_path / "one"), _synthesis(tmp_path / "two", change="nothing", frames=6)
    for path in sorted((changed / "crops/generated").glob("*")):
        shutil.copy(path, same / "crops/generated")
    mixed, pure = _run(PIXELS, same, tmp_path / "mixed"), _run(PIXELS, changed, tmp_path / "pure")
    assert mixed["PSNR"] == pytest.approx(pure["PSNR"], abs=1e-12)
    assert (_entry(mixed, "PSNR", "released", "whole")["n"], mixed["counts"]["identical"]) == (4, 2)
    assert mixed["SSIM"] == pytest.approx((4 * pure["SSIM"] + 2) / 6)


def test_every_network_scores_and_says_how(tmp_path: Path, networks: dict) -> None:
    spec = AssessSpec(recipes=PIXELS.recipes, **networks)
    scores = _run(spec, _synthesis(tmp_path / "synthesis"), tmp_path / "out")
    assert set(scores["headline"]) == {
        "CLIPScore", "CLIPScore_text", "FID (efficientnet-lite0)", "KID (efficientnet-lite0)", "SSIM", "PSNR", "LPIPS",
    }  # fmt: skip
    assert all(value is not None for value in scores["headline"].values())
    assert -1 <= scores["CLIPScore"] < 1
    assert 0 <= scores["CLIPScore_text"] <= 2.5
    assert (scores["CLIP-T.corrected.outside"], scores["LPIPS.corrected.inside"]) == (None, None)
    assert (scores["FID"], scores["FID.corrected.whole"]) == (None, None)
    clip = _entry(scores, "CLIP-I", "corrected", "outside")
    tag = scores["weights"]["clip"][:8]
    assert f"model:tiny|weights:{tag}|input:bicubic|fill:127" in clip["signature"]
    fid = _entry(scores, "FID (efficientnet-lite0)", "corrected", "whole")
    assert "n_real:4|n:8" in fid["signature"]
    assert fid["error"] is None
    kid = _entry(scores, "KID (efficientnet-lite0)", "released", "whole")
    assert kid["error"] > 0
    outside, inside = (scores[f"FID (efficientnet-lite0).corrected.{r}"] for r in ("outside", "inside"))
    assert outside < inside


def test_a_perfect_copy_wins_everything(tmp_path: Path, networks: dict) -> None:
    spec = AssessSpec(recipes=PIXELS.recipes, **networks)
    scores = _run(spec, _synthesis(tmp_path / "synthesis", change="nothing"), tmp_path / "out")
    assert scores["CLIPScore"] == pytest.approx(1, abs=1e-6)
    assert scores["FID (efficientnet-lite0)"] == pytest.approx(0, abs=1e-5)
    assert scores["LPIPS"] == pytest.approx(0, abs=1e-6)
    assert scores["PSNR"] is None


def test_set_distance_takes_each_real_crop_once(tmp_path: Path, networks: dict) -> None:
    from harness.quality.features import Features
    from harness.quality.measurement import resized

    synthesis = _synthesis(tmp_path / "synthesis")
    spec = AssessSpec(metrics=("FID",), recipes=PIXELS.recipes, **networks)
    scores = _run(spec, synthesis, tmp_path / "out")
    features = Features(networks["features"])

    def read(pattern: str) -> np.ndarray:
        paths = sorted((synthesis / "crops").glob(pattern))
        return features([resized(np.array(Image.open(path)), 40, "lanczos") for path in paths])

    expected = frechet_distance(read("real/*"), read("generated/*"))
    assert scores["FID (efficientnet-lite0).corrected.whole"] == pytest.approx(expected, rel=1e-4)


def test_missing_optional_weights_are_told_and_missing_weights_are_an_error(tmp_path: Path, networks: dict) -> None:
    synthesis = _synthesis(tmp_path / "synthesis")
    gone = LpipsSpec(weights=str(tmp_path / "gone.pth"))
    scores = _run(AssessSpec(metrics=("PSNR", "LPIPS"), lpips=gone), synthesis, tmp_path / "out")
    assert (scores["LPIPS"], "LPIPS" in scores["headline"]) == (None, False)
    assert "gone.pth" in scores["unavailable"]["lpips"]
    needed = AssessSpec(metrics=("PSNR", "CLIP-I"), clip=ClipSpec(weights=str(tmp_path / "gone.pt")))
    with pytest.raises(HarnessError, match=r"gone\.pt"):
        assess.run(needed, {"synthesis": synthesis}, tmp_path / "other", silent)
    assert not (tmp_path / "other").exists()
    assert assess.fingerprint(needed) == "ClipSpec:absent"  # a plan names it, and the step fails


def test_pairs_are_kept_for_bootstraps(tmp_path: Path) -> None:
    scores = _run(PIXELS, _synthesis(tmp_path / "synthesis"), tmp_path / "out")
    with np.load(tmp_path / "out" / "pairs.npz") as pairs:
        assert pairs["name"].tolist()[:2] == ["aachen-26000-0_000000_000019", "aachen-26000-1_000000_000019"]
        assert pairs["corrected.inside.pair"].tolist() == list(range(8))
        assert pairs["released.whole.pair"].tolist() == [0, 2, 4, 6]
        assert pairs["corrected.inside.psnr"].mean() == pytest.approx(scores["PSNR.corrected.inside"])
        by_frame = pairs["released.whole.ssim"]
        found = _entry(scores, "SSIM", "released", "whole")["error"]
        assert found == pytest.approx(by_frame.std(ddof=1) / 2)  # one pair per frame: the usual error of a mean of four


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, networks: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesis = _synthesis(tmp_path / "synthesis", frames=5)
    spec = AssessSpec(recipes=PIXELS.recipes, **networks)
    monkeypatch.setattr(assess, "_PART", 2)
    _run(spec, synthesis, tmp_path / "whole")
    calls = []

    def stop(done: int, total: int, note: str = "") -> None:
        calls.append(done)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assess.run(spec, {"synthesis": synthesis}, tmp_path / "out", stop)
    (parts,) = (tmp_path / "out").glob("parts-*")
    first = (parts / "000000.npz").stat().st_mtime_ns
    assert len(list(parts.glob("*.npz"))) == 2
    monkeypatch.setattr(shutil, "rmtree", lambda path: None)
    _run(spec, synthesis, tmp_path / "out")
    assert (parts / "000000.npz").stat().st_mtime_ns == first
    for name in ("scores.json", "pairs.npz"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_another_question_of_the_same_folder_is_answered_anew(tmp_path: Path) -> None:
    synthesis = _synthesis(tmp_path / "synthesis")
    _run(PIXELS, synthesis, tmp_path / "out")
    other = _run(AssessSpec(metrics=("PSNR",), recipes=PIXELS.recipes[1:]), synthesis, tmp_path / "out")
    assert set(other["headline"]) == {"PSNR"}
    assert other["PSNR"] == other["PSNR.corrected.whole"]
    assert list((tmp_path / "out").glob("parts-*")) == []


def test_a_pair_whose_region_is_empty_is_counted(tmp_path: Path) -> None:
    synthesis = _synthesis(tmp_path / "synthesis")
    full = np.full((30, 30), 255, np.uint8)
    Image.fromarray(full).save(synthesis / "crops/mask/aachen_000000_000019.png")
    scores = _run(PIXELS, synthesis, tmp_path / "out")
    outside = _entry(scores, "PSNR", "corrected", "outside")
    assert (outside["n"], outside["n_empty"]) == (6, 2)
    assert _entry(scores, "PSNR", "corrected", "inside")["n"] == 8


def _break_missing(folder: Path) -> None:
    (folder / "crops/generated/aachen_000001_000019_1.png").unlink()


def _break_shape(folder: Path) -> None:
    Image.fromarray(_picture(40, 0)[:30]).save(folder / "crops/generated/aachen_000001_000019_1.png")


def _break_mask(folder: Path) -> None:
    Image.fromarray(np.zeros((7, 7), np.uint8)).save(folder / "crops/mask/aachen_000001_000019.png")


def _break_truncated(folder: Path) -> None:
    path = folder / "crops/real/aachen_000001_000019.png"
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_break_missing, r"aachen_000001_000019_1\.png"),
        (_break_shape, r"aachen_000001_000019_1\.png: expected a square crop, found \(30, 40\)"),
        (_break_mask, r"mask/aachen_000001_000019\.png: \(7, 7\) pixels"),
        (_break_truncated, r"real/aachen_000001_000019\.png"),
    ],
)
def test_bad_crops_are_named(tmp_path: Path, spoil, message: str) -> None:
    synthesis = _synthesis(tmp_path / "synthesis")
    spoil(synthesis)
    with pytest.raises(HarnessError, match=message):
        assess.run(PIXELS, {"synthesis": synthesis}, tmp_path / "out", silent)
    assert not (tmp_path / "out" / "scores.json").exists()


def test_a_synthesis_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="holds no finished synthesis"):
        assess.run(PIXELS, {"synthesis": tmp_path}, tmp_path / "out", silent)
    (tmp_path / "manifest.jsonl").write_text("")
    with pytest.raises(HarnessError, match="no generated crop"):
        assess.run(PIXELS, {"synthesis": tmp_path}, tmp_path / "out", silent)


def test_specification_is_strict() -> None:
    with pytest.raises(HarnessError, match="different names"):
        parse(AssessSpec, {"recipes": [{"name": "a", "size": 64}, {"name": "a", "size": 32}]}, "x.toml")
    with pytest.raises(HarnessError, match="metrics"):
        parse(AssessSpec, {"metrics": ["IS"]}, "x.toml")
    with pytest.raises(HarnessError, match=r"unknown key 'recipes.0.sise'.*\n.*'size'"):
        parse(AssessSpec, {"recipes": [{"name": "a", "sise": 64}]}, "x.toml")
