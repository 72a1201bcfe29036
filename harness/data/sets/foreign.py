"""This module holds the base of data sets of others: a frame is an image, an annotation file and its decoder.

A class of this package says where the files lie, what their values mean and which decoder reads them.
"""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import numpy as np

from harness.core.errors import HarnessError
from harness.core.files import hash_into
from harness.data import frame_names
from harness.data.base import Dataset, Frame
from harness.data.labels import LabelSet
from harness.data.patterns import PARTS, matches
from harness.data.sets.decoders import Decoder
from harness.data.sets.meaning import Meaning


@dataclass(frozen=True, kw_only=True)
class ForeignFrame(Frame):
    """A frame whose ids a decoder reads from the annotation file."""

    is_plain: ClassVar[bool] = False
    decoder: Decoder

    def read_ids(self) -> np.ndarray:
        return self.decoder.ids(self.instance_ids)

    def annotated_as(self, other: Self) -> Self:
        return replace(self, instance_ids=other.instance_ids, decoder=other.decoder)


class Found(NamedTuple):
    """This holds what lies on disk of a frame; `fields` name it: city, frame and maybe sequence."""

    fields: Mapping[str, str]
    image: Path
    annotation: Path
    decoder: Decoder


class Foreign(Dataset):
    """A data set of others, read in its own layout."""

    @property
    @abstractmethod
    def meaning(self) -> Meaning:
        """Return what the values of its files mean."""

    @abstractmethod
    def found_of(self, split: str) -> Iterator[Found]:
        """Yield the files of each frame of a split; HarnessError when a file is missing."""

    def described_by(self) -> Iterable[Path]:
        """Return files beside those of the frames that decide what the ids are."""
        return ()

    @property
    def labels(self) -> LabelSet:
        return self.meaning.labels

    def frames(self, split: str) -> list[ForeignFrame]:
        """Return the frames of a split, sorted by name; HarnessError when the split is not whole, or two frames share a
        name.

        A name is <city>_<sequence>_<frame> of the fields, with the split in the place of an absent sequence. An
        underscore within becomes ~, and what begins with another sign than a letter or digit gets an x.
        """
        if split not in self._frames:
            found: dict[str, ForeignFrame] = {}
            for one in self.found_of(split):
                city = _part(one.fields["city"])
                sequence, number = _part(one.fields.get("sequence", split)), _part(one.fields["frame"])
                name = frame_names.checked(f"{city}_{sequence}_{number}", one.annotation)
                if name in found:
                    other = found[name].instance_ids
                    raise HarnessError(f"{one.annotation}: the frame {name} is that of {other} too")
                found[name] = ForeignFrame(
                    name=name,
                    city=city,
                    split=split,
                    image=one.image,
                    instance_ids=one.annotation,
                    decoder=one.decoder,
                )
            self._frames[split] = [found[name] for name in sorted(found)]
        return self._frames[split]

    @property
    def _frames(self) -> dict[str, list[ForeignFrame]]:
        cache: dict[str, list[ForeignFrame]] = self.__dict__.setdefault("_found", {})
        return cache

    def fingerprint(self) -> str:
        """Return a hash as of every data set, and of the part and of the files of `described_by`."""
        digest = hashlib.blake2b(super().fingerprint().encode())
        digest.update(json.dumps(self.part.decisive(), sort_keys=True).encode())
        for path in self.described_by():
            hash_into(digest, path)
        return digest.hexdigest()

    def paired(
        self, images: str, annotations: str, *, shared: bool = False
    ) -> Iterator[tuple[dict[str, str], Path, Path]]:
        """Yield the fields, image and file of annotation of every frame, of patterns of both.

        HarnessError for an annotation without an image, and, unless the folder of images is `shared` with other splits,
        for an image without annotation.
        """
        pictures = {_key(fields): path for path, fields in self.matching(images).items()}
        found = {_key(fields): (fields, path) for path, fields in self.matching(annotations).items()}
        self.require(
            [f"{path} has no image" for key, (_, path) in found.items() if key not in pictures],
            len(found),
            f"expected an image of the pattern {images!r} for each file of {annotations!r}",
        )
        if not shared:
            self.require(
                [f"{path} has no labels" for key, path in pictures.items() if key not in found],
                len(pictures),
                f"expected a file of the pattern {annotations!r} for each image of {images!r}",
            )
        for key, (fields, path) in found.items():
            yield fields, pictures[key], path

    def matching(self, pattern: str) -> dict[Path, dict[str, str]]:
        """Return the files of a pattern below the root with their fields; HarnessError when there are none."""
        above: list[str] = []
        parts = pattern.split("/")
        while len(parts) > 1 and not any(sign in parts[0] for sign in "{*"):
            above.append(parts.pop(0))
        try:
            return matches(self.root.joinpath(*above), "/".join(parts), PARTS)
        except HarnessError as error:
            raise HarnessError(error.message, hint=self.hint) from None

    def require(self, lacking: list[str], of: int, hint: str) -> None:
        """Raise HarnessError when the list is not empty, with its first and how many there are `of` all."""
        if lacking:
            more = f" (and so {len(lacking) - 1} more of {of})" if len(lacking) > 1 else ""
            raise HarnessError(f"{lacking[0]}{more}", hint=hint)

    @property
    def hint(self) -> str:
        """Return what the root holds when it is whole."""
        return f"{self.part.label} holds {self.LAYOUT}"


def _key(fields: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(fields.items()))


def _part(text: str) -> str:
    clean = text.replace("_", "~")
    return clean if clean[:1].isalnum() else f"x{clean}"
