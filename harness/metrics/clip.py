"""CLIP-I and CLIP-T: cosines of CLIP embeddings, over the `clip` package (clip-anytorch) and a local weight file.

CLIP-I is what the paper calls CLIPScore: the cosine of the embeddings of the real and the generated crop, no text, no
factor. CLIP-T is the CLIPScore of Hessel et al. 2021, eq. 1: 2.5 max(cos(image, caption), 0).
"""

import logging
import pickle
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from harness.errors import HarnessError
from harness.metrics.image import ClipSpec, resized
from harness.metrics.weights import WeightFile, locate, vocabulary

log = logging.getLogger(__name__)

TEXT_WEIGHT = 2.5
"""w of Hessel et al. 2021, eq. 1."""

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


class Clip:
    """A loaded CLIP in float32. `side`: its input side; `file`: the weights it has."""

    def __init__(self, spec: ClipSpec, *, device: str = "cpu", batch_size: int = 64) -> None:
        """HarnessError when the weights or the tokenizer are missing, or not of the format of OpenAI's releases."""
        self.file: WeightFile = locate(spec)
        self._device, self._batch_size = device, batch_size
        self._model = _load(self.file).float().to(device)
        self.side: int = self._model.visual.input_resolution
        self._tokenize = _tokenizer(spec, self._model)

    def images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Unit embeddings float64 [n, d] of square uint8 RGB images, each resized to `side` (bicubic, as
        `clip` does)."""
        parts = []
        mean = torch.tensor(_MEAN, device=self._device)[:, None, None]
        std = torch.tensor(_STD, device=self._device)[:, None, None]
        for start in range(0, len(images), self._batch_size):
            pixels = np.stack([resized(i, self.side, "bicubic") for i in images[start : start + self._batch_size]])
            batch = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2).float().div(255)
            with torch.inference_mode():
                parts.append(self._model.encode_image((batch - mean) / std).cpu())
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


def _load(file: WeightFile) -> torch.nn.Module:
    """The model in a state dict (.pt, .safetensors) or in one of OpenAI's TorchScript archives; nothing is
    unpickled."""
    package = _package()
    try:
        if file.path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return package.model.build_model(load_file(file.path))
        return package.load(str(file.path), device="cpu", jit=False)[0]
    except (KeyError, RuntimeError, pickle.UnpicklingError, AttributeError, TypeError) as error:
        raise HarnessError(
            f"{file.path}: not a CLIP in OpenAI's format: {type(error).__name__}: {str(error).splitlines()[0]}",
            hint="expected is a state dict with keys like visual.conv1.weight, or an original .pt archive",
        ) from None


def _package():
    """The `clip` package; it needs pkg_resources, which setuptools 82 took away."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
            import clip
    except ModuleNotFoundError as error:
        raise HarnessError(
            f"CLIP scores need the package clip-anytorch: {error}", hint="pip install clip-anytorch 'setuptools<82'"
        ) from None
    return clip


def _tokenizer(spec: ClipSpec, model: torch.nn.Module):
    """A function from sentences to token ids [n, context]; the end token has the highest id, as CLIP's pooling
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


def _within_context(texts: Sequence[str], tokenize, context: int) -> torch.Tensor:
    try:
        return tokenize(list(texts), context_length=context)
    except RuntimeError as error:
        raise HarnessError(f"a prompt is too long for CLIP: {error}") from None


def _reduced(texts: Sequence[str], tokenizer, context: int) -> torch.Tensor:
    tokens = torch.zeros(len(texts), context, dtype=torch.long)
    for row, encoded in enumerate(tokenizer.encode_batch(list(texts))):
        if len(encoded.ids) > context:
            raise HarnessError(
                f"a prompt is too long for CLIP: {texts[row]!r} has {len(encoded.ids)} tokens of {context}"
            )
        tokens[row, : len(encoded.ids)] = torch.tensor(encoded.ids)
    return tokens
