"""These networks give the features that FID and KID compare: square RGB images in, one vector each out.

`inception` is the 2015-12-05 graph with the weights of pytorch-fid and torch-fidelity (one file) and the resize of
either; `efficientnet-lite0` comes with weights in a package, so that a score exists offline, on another scale than
Inception's.
"""

import io
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn import functional as F

from harness.core.errors import HarnessError
from harness.quality.measurement import FeatureSpec, resized
from harness.quality.weight_files import WeightFile, locate

INCEPTION_SIDE = 299

_CPU_BATCH = 8  # on a processor larger batches leave the cache and are up to three times slower per image


class Features:
    """A loaded feature network in float32. `dimensions`: length of its vectors; `file`: the weights it has."""

    def __init__(self, spec: FeatureSpec, *, device: str = "cpu", batch_size: int = 32) -> None:
        """HarnessError when the weights are missing or belong to another network."""
        self.file: WeightFile = locate(spec)
        self.label = label(spec)
        self._spec, self._device = spec, device
        self._batch_size = min(batch_size, _CPU_BATCH) if device == "cpu" else batch_size
        state = read_state(self.file)
        try:
            network = _inception(state) if spec.network == "inception" else _efficientnet(state)
        except RuntimeError as error:
            raise HarnessError(f"{self.file.path}: not the weights of {spec.network}: {_first_lines(error)}") from None
        except ModuleNotFoundError as error:
            package = {"inception": "torch-fidelity", "efficientnet-lite0": "efficientnet-lite-pytorch"}[spec.network]
            raise HarnessError(f"{spec.network} needs a package: {error}", hint=f"pip install {package}") from None
        network = network.eval().requires_grad_(False)
        self._network = network.to(device=torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack the pair
        self.dimensions = 2048 if spec.network == "inception" else 1280

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Features float32 [n, dimensions] of square uint8 RGB images of one side."""
        parts = [np.empty((0, self.dimensions), np.float32)]
        for start in range(0, len(images), self._batch_size):
            with torch.inference_mode():
                parts.append(self._batch(images[start : start + self._batch_size]).flatten(1).float().cpu().numpy())
        return np.concatenate(parts)

    def _batch(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        if self._spec.network == "efficientnet-lite0":
            pixels = self._tensor([resized(image, self._spec.side, "bicubic") for image in images])
            # The range of the TensorFlow graph these weights were converted from.
            return self._network.extract_features((pixels - 127) / 128).mean((2, 3))
        pixels = self._tensor(images)
        size = (INCEPTION_SIDE, INCEPTION_SIDE)
        if self._spec.preprocess == "pytorch-fid":
            pixels = F.interpolate(pixels / 255, size=size, mode="bilinear", align_corners=False)
            return self._network(2 * pixels - 1)
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

        pixels = interpolate_bilinear_2d_like_tensorflow1x(pixels, size=size, align_corners=False)
        return self._network((pixels - 128) / 128)

    def _tensor(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        # The permuted stack of [H, W, 3] arrays has the channels last already.
        return torch.from_numpy(np.stack(images)).to(self._device).permute(0, 3, 1, 2).float()


def label(spec: FeatureSpec) -> str:
    """Return what the network is called in signatures, with all that changes its features but the weights."""
    return f"inception/{spec.preprocess}" if spec.network == "inception" else f"{spec.network}/{spec.side}px"


def read_state(file: WeightFile) -> dict[str, torch.Tensor]:
    """Return the state dict of a .pth or .safetensors file, read without unpickling anything but tensors."""
    try:
        if file.path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file.path)
        return torch.load(file.path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, SafetensorError) as error:
        raise HarnessError(f"{file.path}: not a file of weights: {_first_lines(error)}") from None


def _inception(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """Return the trunk up to the pooled 2048 features; input already resized and in [-1, 1]."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # Its constructor unpickles the path it is given; a clean copy of the tensors in memory is safe to.
    clean = io.BytesIO()
    torch.save(state, clean)
    clean.seek(0)
    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=clean)
    trunk = [layer for name, layer in network.named_children() if name != "fc"]
    return torch.nn.Sequential(*trunk)


def _efficientnet(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(state)
    return _fused(network.eval())


def _fused(network: Any) -> torch.nn.Module:
    """Return the same function with each normalisation folded into the convolution before it: a third less work."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    couples = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network._blocks:
        couples += [(block, "_expand_conv", "_bn0")] if hasattr(block, "_expand_conv") else []
        couples += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    for owner, convolution, normalisation in couples:
        setattr(owner, convolution, fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, normalisation)))
        setattr(owner, normalisation, torch.nn.Identity())
    return network


def _first_lines(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
