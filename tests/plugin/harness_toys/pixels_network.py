"""The network of the segmenter `pixels`: a few convolutions and a class for every pixel."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.data.labels import IGNORE, LabelSet
from harness.data.prediction import Instance, Prediction
from harness.segmenters.backbones import pixels
from harness.segmenters.network import Sample
from harness.segmenters.training import Trainable
from harness_toys.pixels import PixelInference


class PixelNetwork(Trainable[PixelInference]):
    """Class logits at a quarter of the size."""

    backbone_prefix = "features."
    """Parameters under this name learn at `backbone_rate` times the learning rate."""

    def __init__(self, width: int, depth: int, labels: LabelSet) -> None:
        super().__init__()
        self.width, self.labels = width, labels
        layers: list[nn.Module] = []
        for channels, stride in ((3, 2), (width, 2), *[(width, 1)] * (depth - 2)):
            layers += [nn.Conv2d(channels, width, 3, stride, padding=1), nn.GroupNorm(4, width), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(width, len(labels.evaluated), 1)

    @property
    def shape(self) -> dict[str, Any]:
        """What a trained network is built from again; it is stored as JSON."""
        return {"width": self.width}

    def collate(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Crops of one size: images, normalised and padded to multiples of 32, and train ids (255: no loss)."""
        maps = [self.labels.train_ids[self.labels.label_of(sample.ids)] for sample in samples]
        wanted = torch.from_numpy(np.stack(maps).astype(np.int64))
        return {"images": pixels([sample.image for sample in samples]), "labels": wanted}

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The losses by name; the engine minimises their sum."""
        logits = self._logits(batch["images"], batch["labels"].shape[1:])
        return {"classes": functional.cross_entropy(logits, batch["labels"], ignore_index=IGNORE)}

    @torch.no_grad()
    def predict(self, images: Sequence[np.ndarray], inference: PixelInference) -> list[Prediction]:
        """Label ids and instances of images of one size, uint8 [H, W, 3]."""
        batch = pixels(images).to(self.head.weight.device)
        shares = self._logits(batch, images[0].shape[:2]).softmax(1).cpu().numpy()
        return [self._answer(share, inference) for share in shares]

    def _logits(self, images: Tensor, size: Sequence[int]) -> Tensor:
        logits = functional.interpolate(self.head(self.features(images)), scale_factor=4, mode="bilinear")
        return logits[:, :, : size[0], : size[1]]

    def _answer(self, shares: np.ndarray, inference: PixelInference) -> Prediction:
        """From class shares [K, H, W] to label ids, and to one instance for each connected piece of a thing class."""
        classes = shares.argmax(0)
        found: list[Instance] = []
        for label in self.labels.things:
            count, pieces, facts, _ = cv2.connectedComponentsWithStats((classes == label.train_id).astype(np.uint8))
            for piece in range(1, count):
                if facts[piece, cv2.CC_STAT_AREA] >= inference.least_pixels:
                    mask = pieces == piece
                    found.append(Instance(mask, label.id, float(shares[label.train_id][mask].mean())))
        found.sort(key=lambda instance: -instance.score)
        return Prediction(instances=found, semantic=self.labels.evaluated_ids[classes])
