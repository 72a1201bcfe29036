"""LPIPS 0.1 over AlexNet (Zhang et al. 2018) is a distance between two images in the features of a network.

Trunk: torchvision's ImageNet weights, a local file. Heads: the linear layers that torchmetrics ships.
"""

from collections.abc import Sequence

import numpy as np
import torch

from harness.core.errors import HarnessError
from harness.quality.features import read_state
from harness.quality.measurement import LpipsSpec
from harness.quality.weight_files import WeightFile, locate, lpips_heads

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_TAPS = (2, 5, 8, 10, 12)
"""Behind each of AlexNet's five rectifiers, as ends of slices of its layers."""


class Lpips:
    """A loaded LPIPS. `file`: the weights of its trunk."""

    def __init__(self, spec: LpipsSpec, *, device: str = "cpu", batch_size: int = 16) -> None:
        """HarnessError when the trunk's weights are missing or not AlexNet's."""
        from torchvision.models import alexnet

        self.file: WeightFile = locate(spec)
        self._device, self._batch_size = device, batch_size
        trunk = alexnet(weights=None)
        try:
            trunk.load_state_dict(read_state(self.file))
        except RuntimeError as error:
            raise HarnessError(
                f"{self.file.path}: not the weights of AlexNet: {' '.join(str(error).split())[:200]}"
            ) from None
        layers = trunk.features.eval().requires_grad_(False).to(device)
        self._slices = [layers[start:end] for start, end in zip((0, *_TAPS), _TAPS, strict=False)]
        heads = torch.load(lpips_heads(), map_location=device, weights_only=True)
        self._heads = [heads[f"lin{index}.model.1.weight"] for index in range(len(_TAPS))]

    def __call__(self, real: Sequence[np.ndarray], generated: Sequence[np.ndarray]) -> np.ndarray:
        """Distances float64 [n] of uint8 RGB images, pair by pair of one size (at least 32 x 32); 0 for
        identical ones."""
        parts = [np.empty(0)]
        for start in range(0, len(real), self._batch_size):
            stop = start + self._batch_size
            with torch.inference_mode():
                one, two = self._activations(real[start:stop]), self._activations(generated[start:stop])
                layers = [
                    torch.nn.functional.conv2d((a - b) ** 2, head).mean((1, 2, 3))
                    for a, b, head in zip(one, two, self._heads, strict=True)
                ]
            parts.append(torch.stack(layers).sum(0).double().cpu().numpy())
        return np.concatenate(parts)

    def _activations(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Return the rectified layers, each pixel's channels scaled to length one."""
        x = torch.from_numpy(np.stack(images)).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1
        shift, scale = (torch.tensor(v, device=self._device)[:, None, None] for v in (_SHIFT, _SCALE))
        x, found = (x - shift) / scale, []
        for layers in self._slices:
            x = layers(x)
            found.append(x / torch.sqrt(1e-8 + (x**2).sum(1, keepdim=True)))
        return found
