"""Quality filters: off by default, each threshold refuses what it names, networks only where they are asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity

from harness.core.config import parse
from harness.core.errors import HarnessError
from harness.generators.base import Prompt
from harness.quality.clip import Clip
from harness.quality.measurement import ClipSpec
from harness.quality.structural import grey
from harness.synthesis.filters import Filters, ImageFilters, SegmenterSpec, fingerprint, intersection_over_union
from harness.tiny_training.tokenizer import build_tokenizer

PROMPT = Prompt(text="a photo of a red car", phrase="car", label_id=26)


def _picture(side: int, seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


def _mask(side: int) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[side // 4 : -side // 4, side // 4 : -side // 4] = True
    return mask


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIP and a random CLIPSeg with the tokenizer of the tiny checkpoints."""
    from clip.model import CLIP
    from safetensors.torch import save_file
    from tokenizers import Tokenizer
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    folder = tmp_path_factory.mktemp("filters")
    build_tokenizer(folder)
    words = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    torch.manual_seed(0)
    (folder / "clip").mkdir()
    save_file(CLIP(32, 32, 1, 64, 8, 16, words, 64, 1, 1).state_dict(), folder / "clip" / "clip.safetensors")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    ends = {"bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1}
    config = CLIPSegConfig(
        text_config=sizes | ends | {"vocab_size": words, "max_position_embeddings": 16},
        vision_config=sizes | {"image_size": 32, "patch_size": 8},
        projection_dim=16, extract_layers=[0, 1, 2], reduce_dim=16, decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )  # fmt: skip
    CLIPSegForImageSegmentation(config).save_pretrained(folder)
    return folder


def _clip(folder: Path) -> ClipSpec:
    return ClipSpec(model="tiny", weights=str(folder / "clip" / "clip.safetensors"), tokenizer=str(folder))


def test_off_by_default_and_without_any_network() -> None:
    filters = Filters()
    assert not filters.active
    assert fingerprint(filters) == ""
    judge = ImageFilters(filters)  # would fail for want of weights if it loaded any
    verdicts = judge([_picture(40, 0)], [_picture(64, 1)], [_mask(40)], [PROMPT])
    assert verdicts == [("", {})]


def test_ssim_threshold_keeps_what_is_near() -> None:
    real = _picture(40, 0)
    near = np.clip(real.astype(int) + np.random.default_rng(0).integers(-3, 4, real.shape), 0, 255).astype(np.uint8)
    other = _picture(40, 1)
    near_value, other_value = (structural_similarity(grey(real), grey(image)) for image in (near, other))
    assert other_value < 0.75 < near_value
    kept, refused = ImageFilters(Filters(ssim=0.75))([real] * 2, [near, other], [_mask(40)] * 2, [PROMPT] * 2)
    assert kept.reason == ""
    assert kept.values["ssim"] == pytest.approx(near_value, abs=1e-9)
    assert refused.reason == "SSIM below the threshold"


def test_clip_thresholds_are_cosines(folder: Path) -> None:
    real, generated = [_picture(40, i) for i in range(4)], [_picture(64, 10 + i) for i in range(4)]
    clip = Clip(_clip(folder))
    cosines = (clip.images(real) * clip.images(generated)).sum(1)
    least = float(np.median(cosines))
    judge = ImageFilters(Filters(clip_image=least, clip_text=-1.0, clip=_clip(folder)))
    verdicts = judge(real, generated, [_mask(40)] * 4, [PROMPT] * 4)
    assert [v.reason == "" for v in verdicts] == (cosines >= least).tolist()
    assert [v.values["clip_image"] for v in verdicts] == pytest.approx(cosines.tolist())
    text = clip.texts([PROMPT.text])[0]
    assert verdicts[0].values["clip_text"] == pytest.approx(float(clip.images(generated)[0] @ text))
    verdicts = ImageFilters(Filters(clip_text=1.0, clip=_clip(folder)))(real[:1], generated[:1], [_mask(40)], [PROMPT])
    assert verdicts[0].reason == "CLIP similarity to the prompt below the threshold"


def test_mask_agreement_is_the_iou_with_what_the_segmenter_finds(folder: Path) -> None:
    from transformers import CLIPSegForImageSegmentation, CLIPTokenizer

    generated, mask = _picture(64, 3), _mask(64)
    model = CLIPSegForImageSegmentation.from_pretrained(folder).eval()
    tokens = CLIPTokenizer.from_pretrained(folder)(["car"], return_tensors="pt")
    pixels = torch.from_numpy(generated).permute(2, 0, 1)[None] / 255
    pixels = (pixels - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    with torch.no_grad():
        seen = model(**tokens, pixel_values=pixels).logits.reshape(64, 64).numpy() >= 0
    expected = (seen & mask).sum() / (seen | mask).sum()
    spec = SegmenterSpec(weights=str(folder / "model.safetensors"), side=64)
    for least, reason in ((0.0, ""), (1.0, "mask agreement below the threshold")):
        filters = Filters(mask_iou=least, segmenter=spec)
        (verdict,) = ImageFilters(filters)([_picture(64, 0)], [generated], [mask], [PROMPT])
        assert verdict.reason == reason
        assert verdict.values["mask_iou"] == pytest.approx(expected)
    assert len(fingerprint(filters)) > 64


def test_intersection_over_union() -> None:
    one, two = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert intersection_over_union(one, two) == 1
    one[:2], two[1:3] = True, True
    assert intersection_over_union(one, two) == pytest.approx(1 / 3)


def test_bad_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"mask_iou needs segmenter\.weights"):
        parse(Filters, {"mask_iou": 0.5}, "x.toml")
    with pytest.raises(HarnessError, match=r"'clip_image'.*less than or equal to 1.*80"):
        parse(Filters, {"clip_image": 80.0}, "x.toml")
    gone = Filters(mask_iou=0.5, segmenter=SegmenterSpec(weights=str(tmp_path / "gone.safetensors")))
    with pytest.raises(HarnessError, match=r"CLIPSeg are not there: .*gone.*\n.*hf download"):
        ImageFilters(gone)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    (tmp_path / "config.json").write_text("{}")
    broken = Filters(mask_iou=0.5, segmenter=SegmenterSpec(weights=str(tmp_path / "model.safetensors")))
    with pytest.raises(HarnessError, match="not a CLIPSeg"):
        ImageFilters(broken)


def test_what_weights_hold_is_in_the_key_and_where_they_lie_is_not(folder: Path, tmp_path: Path) -> None:
    import shutil

    from harness.core.config import read_toml
    from harness.core.paths import CONFIGS
    from harness.generators.base import GeneratorPart
    from harness.planning.plan import make_step
    from harness.stages.synthesize import SynthesisSpec
    from harness.synthesis.recipe import Recipe

    recipe = parse(Recipe, read_toml(CONFIGS / "recipes" / "corrected.toml"), "corrected")

    def key(clip: ClipSpec, least: float = 0.8) -> str:
        filters = Filters(clip_image=least, clip=clip)
        part = GeneratorPart(label="x", adapter="identity")
        spec = SynthesisSpec(generator=part, recipe=recipe.model_copy(update={"filters": filters}))
        return make_step("synthesize", "x", spec, {}, weights=fingerprint(filters)).key

    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    assert key(_clip(moved)) == key(_clip(folder))
    assert key(_clip(folder), least=0.7) != key(_clip(folder))
    path = moved / "clip" / "clip.safetensors"
    path.write_bytes(path.read_bytes() + b" ")
    assert key(_clip(moved)) != key(_clip(folder))
