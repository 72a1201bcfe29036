"""CLIP-I and CLIP-T are cosines of CLIP embeddings, computed by the `clip` package (clip-anytorch) from a local weight
file.

CLIP-I is what the paper calls CLIPScore: the cosine of the embeddings of the real and the generated crop, no text, no
factor. CLIP-T is the CLIPScore of Hessel et al. 2021, eq. 1: 2.5 max(cos(image, caption), 0).
"""

import pickle
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from harness.core.errors import HarnessError
from harness.quality.measurement import ClipSpec, resized
from harness.quality.weight_files import WeightFile, locate, vocabulary

TEXT_WEIGHT = 2.5
"""w of Hessel et al. 2021, eq. 1."""

_PIXELS = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "signed": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and deviation of the colours in 0..1, by the name of `ClipSpec.pixels`."""


class Clip:
    """A loaded CLIP in float32. `side`: its input side; `file`: the weights it has."""

    def __init__(self, spec: ClipSpec, *, device: str = "cpu", batch_size: int = 64) -> None:
        """HarnessError when the weights or the tokenizer are missing, of another format, or don't fit each other."""
        self.file: WeightFile = locate(spec)
        self._device, self._batch_size = device, batch_size
        self._normal = [torch.tensor(value, device=device)[:, None, None] for value in _PIXELS[spec.pixels]]
        self._model = _load(self.file).float().to(device)
        self.side: int = self._model.visual.input_resolution
        self._tokenize = _tokenizer(spec, self._model)

    def images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Unit embeddings float64 [n, d] of square uint8 RGB images, each resized to `side` (bicubic, as
        `clip` does)."""
        parts = []
        mean, deviation = self._normal
        for start in range(0, len(images), self._batch_size):
            pixels = np.stack([resized(i, self.side, "bicubic") for i in images[start : start + self._batch_size]])
            batch = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2).float().div(255)
            with torch.inference_mode():
                parts.append(self._model.encode_image((batch - mean) / deviation).cpu())
        return _unit(parts)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit embeddings float64 [n, d] of sentences; HarnessError for one longer than the model's context."""
        parts = []
        for start in range(0, len(texts), self._batch_size):
            tokens = self._tokenize(texts[start : start + self._batch_size]).to(self._device)
            with torch.inference_mode():
                parts.append(self._model.encode_text(tokens).cpu())
        return _unit(parts)


def clip_i(real: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Image-image cosines float64 [n] in [-1, 1] of unit embeddings [n, d], row by row."""
    return np.einsum("nd,nd->n", real, generated)


def clip_t(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """2.5 max(cos, 0) float64 [n] in [0, 2.5] of unit embeddings [n, d], row by row (Hessel et al. 2021, eq. 1)."""
    return TEXT_WEIGHT * np.maximum(np.einsum("nd,nd->n", images, texts), 0)


def _unit(parts: list[torch.Tensor]) -> np.ndarray:
    vectors = torch.cat(parts).double().numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class _Transformers(torch.nn.Module):
    """A CLIP of transformers behind the names of the `clip` package."""

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPModel

        super().__init__()
        self.model = CLIPModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
        self.visual = SimpleNamespace(input_resolution=self.model.config.vision_config.image_size)
        self.token_embedding = self.model.text_model.get_input_embeddings()
        self.context_length = self.model.config.text_config.max_position_embeddings

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        return self.model.visual_projection(self.model.vision_model(pixel_values=images).pooler_output)

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.model.text_projection(self.model.text_model(input_ids=tokens).pooler_output)


def _load(file: WeightFile) -> Any:
    """Return the model in a state dict (.pt, .safetensors), in one of OpenAI's TorchScript archives, or of
    transformers; nothing is unpickled.
    """
    package = _package()
    try:
        if file.path.suffix != ".safetensors":
            return package.load(str(file.path), device="cpu", jit=False)[0]
        from safetensors.torch import load_file

        state = load_file(file.path)
        if "visual_projection.weight" in state and (file.path.parent / "config.json").is_file():
            return _Transformers(file.path.parent)
        return package.model.build_model(state)
    except (
        KeyError,
        RuntimeError,
        pickle.UnpicklingError,
        AttributeError,
        TypeError,
        OSError,
        SafetensorError,
    ) as error:
        raise HarnessError(
            f"{file.path}: not a CLIP in OpenAI's format: {type(error).__name__}: {str(error).splitlines()[0]}",
            hint="expected is a state dict with keys like visual.conv1.weight, an original .pt archive, or a"
            " model.safetensors of transformers with its config.json",
        ) from None


def _package() -> Any:
    """Return the `clip` package; it needs pkg_resources, which setuptools 82 took away."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
            import clip
    except ModuleNotFoundError as error:
        raise HarnessError(
            f"CLIP scores need the package clip-anytorch: {error}", hint="pip install clip-anytorch 'setuptools<82'"
        ) from None
    return clip


def _tokenizer(spec: ClipSpec, model: Any) -> Callable[[Sequence[str]], torch.Tensor]:
    """Return a function from sentences to token ids [n, context]; the end token has the highest id, as CLIP's pooling
    wants."""
    words, size = vocabulary(spec), model.token_embedding.num_embeddings
    if words is None:
        if size != 49408:
            raise HarnessError(
                f"CLIP {spec.model} knows {size} tokens, and CLIP's own tokenizer makes 49408",
                hint="name the folder of its tokenizer.json with key 'clip.tokenizer'",
            )
        return lambda texts: _within_context(texts, _package().tokenize, model.context_length)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(words))
    if tokenizer.get_vocab_size() != size:
        raise HarnessError(f"{words}: {tokenizer.get_vocab_size()} tokens, but CLIP {spec.model} knows {size}")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda texts: _reduced(texts, tokenizer, model.context_length)


def _within_context(texts: Sequence[str], tokenize: Callable[..., torch.Tensor], context: int) -> torch.Tensor:
    try:
        return tokenize(list(texts), context_length=context)
    except RuntimeError as error:
        raise HarnessError(f"a prompt is too long for CLIP: {error}") from None


def _reduced(texts: Sequence[str], tokenizer: Any, context: int) -> torch.Tensor:
    tokens = torch.zeros(len(texts), context, dtype=torch.long)
    for row, encoded in enumerate(tokenizer.encode_batch(list(texts))):
        if len(encoded.ids) > context:
            raise HarnessError(
                f"a prompt is too long for CLIP: {texts[row]!r} has {len(encoded.ids)} tokens of {context}"
            )
        tokens[row, : len(encoded.ids)] = torch.tensor(encoded.ids)
    return tokens
