"""manifest.jsonl has one line for every image that a synthesis was asked for, made or not.

The files it names are relative to the synthesis's folder. Real and generated crops are paired by it, never by listing
folders.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from harness.core.config import Strict
from harness.core.errors import HarnessError

NAME = "manifest.jsonl"
WHOLE = 0
"""What stands for the id of an instance where a whole frame was made anew."""

Rectangle = tuple[int, int, int, int]


class Crops(NamedTuple):
    """Files of the crops of one entry, relative to the synthesis's folder."""

    real: str
    mask: str
    generated: str


class ManifestEntry(Strict):
    """One variant of one instance. Rectangles are half-open (x0, y0, x1, y1) in absolute pixels of the source frame."""

    status: Literal["made", "skipped", "filtered"]
    """Made; not possible; or made and refused by a quality filter."""
    reason: str = ""
    """Why it is not made."""
    name: str
    """Frame name of the training image, <city>-<instance>-<variant>_<sequence>_<frame>."""
    source: str
    """Frame name of the image the instance comes from."""
    city: str
    """Folder of the source frame, and of the result."""
    instance: int
    """Its id in instanceIds; 0: the whole frame was made anew, and no crop was cut."""
    variant: int
    """0, 1, ...: results for the same instance and prompt."""
    class_name: str
    label_id: int
    area: int
    """Pixels of the instance."""
    box: Rectangle
    """Tight box of the instance."""
    square: Rectangle
    """The crop the generator saw; what lies beyond the frame was filled."""
    prompt: str = ""
    phrase: str = ""
    """What grounds the prompt: the class name."""
    seed: int
    """The generator's seed for this image."""
    target: str = ""
    """Frame name of the image the result was pasted into."""
    target_id: int | None = None
    """Id of the instance there; a new one when the target is not the source."""
    window: Rectangle | None = None
    """What of the target became the training image."""
    zoom: float | None = None
    """lambda of the window's draw: its area over the area of the smallest window; null: the whole frame."""
    judgement: dict[str, float] = {}
    """What the filters measured, by name."""
    file: str | None = None
    """The training image."""
    labels: str | None = None
    """Its instanceIds."""
    composite: str | None = None
    """The full-frame composite, where it is kept."""
    real: str | None = None
    """The unedited square crop; one for all variants."""
    mask: str | None = None
    """The instance in that crop, 255 on 0; one for all variants."""
    generated: str | None = None
    """What the generator returned for it, at the generator's own size, before the paste."""

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that was written for it; all are PNGs."""
        every = (self.file, self.labels, self.composite, self.real, self.mask, self.generated)
        return tuple(name for name in every if name)

    @property
    def crops(self) -> Crops:
        """Files of the real crop, the mask and the generated crop, of an entry for which the generator was asked."""
        assert self.real and self.mask and self.generated, f"{self.name} was never painted"
        return Crops(self.real, self.mask, self.generated)

    @property
    def pair(self) -> tuple[str, str] | None:
        """Files of the real and the generated crop, where both exist."""
        return (self.real, self.generated) if self.real and self.generated else None


def render(entries: list[ManifestEntry]) -> str:
    """Return the text of the file."""
    return "".join(json.dumps(entry.model_dump(mode="json")) + "\n" for entry in entries)


def read_manifest(folder: Path) -> list[ManifestEntry]:
    """Return the entries of the synthesis in `folder`; HarnessError when there is no whole one."""
    path = folder / NAME
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file: {folder} holds no finished synthesis") from None
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: not readable: {error}") from None
    try:
        return [ManifestEntry.model_validate_json(line) for line in lines]
    except ValidationError as error:
        raise HarnessError(f"{path}: not a manifest of this version: {error.errors()[0]['msg']}") from None


Key = tuple[str, int]
"""Name of the source frame and id of the instance."""


def first_variants(folder: Path) -> dict[Key, ManifestEntry]:
    """Return the first variant of every instance that the synthesis in `folder` repainted, by instance."""
    made = (entry for entry in read_manifest(folder) if entry.status == "made" and entry.pair)
    return {(entry.source, entry.instance): entry for entry in made if entry.variant == 0}


def shared(syntheses: Iterable[Mapping[Key, ManifestEntry]]) -> list[ManifestEntry]:
    """Return one entry of each instance that the largest number of syntheses repainted."""
    syntheses = list(syntheses)
    counts = Counter(key for entries in syntheses for key in entries)
    most = max(counts.values(), default=0)
    first = {key: entry for entries in reversed(syntheses) for key, entry in entries.items()}
    return [first[key] for key in counts if counts[key] == most]
