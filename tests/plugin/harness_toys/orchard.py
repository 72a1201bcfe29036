"""A data set in a form of its own, read as it lies.

<root>/<split>/images/NUMBER.png are images. <root>/<split>/masks/NUMBER.png hold the class of a pixel in red and the
number of its instance in green; 0 in green: no instance.
"""

import numpy as np

from harness.core.errors import HarnessError
from harness.data import png
from harness.data.base import Dataset, Frame
from harness.data.labels import Label, LabelSet

LABELS = LabelSet(
    name="orchard",
    labels=(
        Label(id=0, name="void"),
        Label(id=1, name="apple", train_id=0, category="fruit", is_thing=True, color=(200, 30, 40)),
        Label(id=2, name="pear", train_id=1, category="fruit", is_thing=True, color=(160, 190, 40)),
        Label(id=3, name="grass", train_id=2, category="ground", color=(40, 140, 40)),
        Label(id=4, name="sky", train_id=3, category="sky", color=(70, 130, 180)),
    ),
    divisor=256,
)


class OrchardFrame(Frame):
    """A frame whose ids are made from the mask."""

    is_plain = False

    def read_ids(self) -> np.ndarray:
        """Stuff as its label id, instances as label id * 256 + number; uint16 [H, W]."""
        mask = png.read_image(self.instance_ids).astype(np.uint16)
        classes, numbers = mask[..., 0], mask[..., 1]
        return np.where(numbers > 0, LABELS.divisor * classes + numbers, classes)


class Orchard(Dataset):
    """The folder with train/ and val/."""

    LAYOUT = "train/ and val/, with images/ and masks/ in each"

    @property
    def labels(self) -> LabelSet:
        """The same for every orchard."""
        return LABELS

    def frames(self, split: str) -> list[Frame]:
        """The frames of a split, sorted by name; HarnessError when there are none, or one has no mask."""
        folder = self.root / split
        found = [self._frame(split, path.stem) for path in sorted(folder.glob("images/*.png"))]
        if not found:
            raise HarnessError(f"{folder}: no images/*.png in it", hint=f"the folder of an orchard holds {self.LAYOUT}")
        for frame in found:
            if not frame.instance_ids.is_file():
                raise HarnessError(f"{frame.image}: the image has no mask: {frame.instance_ids} is missing")
        return found

    def _frame(self, split: str, number: str) -> Frame:
        folder, file = self.root / split, f"{number}.png"
        return OrchardFrame(
            name=f"orchard_{split}_{number}",
            city="orchard",
            split=split,
            image=folder / "images" / file,
            instance_ids=folder / "masks" / file,
        )
