"""The judge says whether a generator followed its prompt: it is a small classifier with its own seed, and a colour
test.

Neither had a part in training a generator. The classifier sees the whole crop as a person would and names class and
detail (colour, woman, man, male, female); the colour test looks at the pixels inside the mask and has no weights.
"""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from harness.core.progress import Report, silent
from harness.core.seeds import derive
from harness.tiny_training.contrastive import LABEL_IDS
from harness.tiny_training.loop import History, TimeBudget, fit
from harness.tiny_training.pool_crops import Pool, detail
from harness.tiny_training.tokenizer import COLOURS
from harness.tiny_training.vae import noise, to_tensor

DETAILS = (*COLOURS, "woman", "man", "male", "female")
BATCH = 64
"""Crops a step on a CPU."""


class Judge(nn.Module):
    """Classifies images [N, 3, 64, 64] in -1..1: class scores [N, 8] and detail scores [N, 14]."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 128)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            layers += [nn.Conv2d(after, after, 3, padding=1, groups=after // 8), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * widths[-1], len(LABEL_IDS) + len(DETAILS))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body(images)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)
        scores = self.head(pooled)
        return scores[:, : len(LABEL_IDS)], scores[:, len(LABEL_IDS) :]


def train_judge(
    pool: Pool, *, seed: int, batch: int = BATCH, budget: TimeBudget, state: Path, device: str, report: Report = silent
) -> tuple[Judge, History]:
    """Train the judge on class and detail; crops are mirrored, blurred and made noisy, as generated ones are."""
    torch.manual_seed(derive(seed, "judge"))
    judge = Judge().to(device)
    classes = torch.from_numpy(np.searchsorted(LABEL_IDS, pool.label_ids)).to(device)
    details = torch.tensor([DETAILS.index(detail(prompt)) for prompt in pool.prompts], device=device)

    def loss_of(step: int) -> torch.Tensor:
        rng = np.random.default_rng(derive(seed, "judge", step))
        rows = rng.integers(0, len(pool), batch)
        images = _worn(to_tensor(pool.images[rows], device), rng, step)
        judge.train()
        found_class, found_detail = judge(images)
        chosen = torch.from_numpy(rows).to(device)
        return functional.cross_entropy(found_class, classes[chosen]) + functional.cross_entropy(
            found_detail, details[chosen]
        )

    return fit(judge, loss_of, budget=budget, state=state, device=device, rate=3e-3, report=report)


def _worn(images: torch.Tensor, rng: np.random.Generator, step: int) -> torch.Tensor:
    if rng.random() < 0.5:
        images = images.flip(3)
    if rng.random() < 0.5:
        small = functional.interpolate(images, scale_factor=rng.uniform(0.4, 0.9), mode="bilinear", antialias=True)
        images = functional.interpolate(small, size=images.shape[-2:], mode="bilinear")
    return images + rng.uniform(0, 0.15) * noise(images, step)


class Verdicts(NamedTuple):
    """This says, bool [N] per crop: are the asked class and detail there, by the classifier; the asked colour, by the
    pixels; does the prompt name a colour at all."""

    classes: np.ndarray
    details: np.ndarray
    colours: np.ndarray
    coloured: np.ndarray

    def shares(self) -> dict[str, float]:
        """Shares of crops: class over all; colour by pixels, by the classifier, class and colour (by pixels) together,
        these over the prompts that name a colour; figure (woman, man, male, female) over the others."""
        painted, figures = self.coloured, ~self.coloured
        found = {
            "class": self.classes,
            "colour": self.colours[painted],
            "colour (classifier)": self.details[painted],
            "class and colour": (self.classes & self.colours)[painted],
            "figure": self.details[figures],
        }
        return {name: round(float(rows.mean()), 4) for name, rows in found.items() if len(rows)}


@torch.no_grad()
def judged(judge: Judge, images: np.ndarray, masks: np.ndarray, label_ids: np.ndarray, prompts: list[str]) -> Verdicts:
    """Return what is found in uint8 images [N, 64, 64, 3] against what was asked for."""
    judge.eval()
    found_class, found_detail = judge(to_tensor(images))
    classes = np.array(LABEL_IDS)[found_class.argmax(1).numpy()] == label_ids
    asked = [detail(prompt) for prompt in prompts]
    details = np.array(DETAILS)[found_detail.argmax(1).numpy()] == np.array(asked)
    coloured = np.array([word in COLOURS for word in asked])
    rows = zip(images, masks, asked, coloured, strict=True)
    colours = np.array([bool(named and colour_found(image, mask, word)) for image, mask, word, named in rows])
    return Verdicts(classes, details, colours, coloured)


def colour_found(image: np.ndarray, mask: np.ndarray, colour: str) -> bool:
    """Return whether at least a fifth of the pixels of `mask` have that colour; of black two fifths, since glass, tyres
    and shade are dark on everything. Chance is stated beside every score."""
    return colour_shares(image, mask)[colour] >= (0.4 if colour == "black" else 0.2)


def colour_shares(image: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Share of the pixels of `mask` that a person would call by each name: by hue, or by lightness where pale."""
    from skimage.color import rgb2hsv

    hue, saturation, value = np.moveaxis(rgb2hsv(image[mask].reshape(1, -1, 3))[0], -1, 0)
    hue = 360 * hue
    pale = (saturation < 0.22) | (value < 0.2)
    warm = (hue >= 14) & (hue < 40)
    rules = {
        "white": pale & (value >= 0.6),
        "silver": pale & (value >= 0.46) & (value < 0.6),
        "grey": pale & (value >= 0.3) & (value < 0.46),
        "black": pale & (value < 0.3),
        "red": ~pale & ((hue < 14) | (hue >= 335)),
        "orange": ~pale & warm & (value >= 0.6),
        "brown": ~pale & warm & (value < 0.6),
        "yellow": ~pale & (hue >= 40) & (hue < 70),
        "green": ~pale & (hue >= 70) & (hue < 185),
        "blue": ~pale & (hue >= 185) & (hue < 270),
    }
    return {name: float(rules[name].mean()) if len(hue) else 0.0 for name in COLOURS}


def load(folder: Path) -> Judge:
    """Return the judge of `folder`."""
    from safetensors.torch import load_file

    judge = Judge()
    weights = load_file(folder / "model.safetensors")
    judge.load_state_dict({name: w.float() if w.is_floating_point() else w for name, w in weights.items()})
    return judge.eval()
