"""This module reads Mapillary Vistas, whose images have two sets of classes; a file of the data set lists each.

Pixels are read from instances/, where a value is class x 256 + number. Not here: polygons and panoptic pictures, which
hold the same.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from harness.core.config import parse, read_json
from harness.core.errors import HarnessError
from harness.data.base import DatasetPart
from harness.data.sets.decoders import Grey
from harness.data.sets.foreign import Foreign, Found
from harness.data.sets.meaning import Class, Meaning, cityscapes, own

FOLDERS = {"train": "training", "val": "validation"}

CITYSCAPES_OF = {
    "construction--barrier--curb": "sidewalk",
    "construction--barrier--fence": "fence",
    "construction--barrier--guard-rail": "guard rail",
    "construction--barrier--wall": "wall",
    "construction--flat--bike-lane": "road",
    "construction--flat--crosswalk-plain": "road",
    "construction--flat--curb-cut": "sidewalk",
    "construction--flat--parking": "parking",
    "construction--flat--parking-aisle": "road",
    "construction--flat--pedestrian-area": "sidewalk",
    "construction--flat--rail-track": "rail track",
    "construction--flat--road": "road",
    "construction--flat--road-shoulder": "road",
    "construction--flat--service-lane": "road",
    "construction--flat--sidewalk": "sidewalk",
    "construction--flat--traffic-island": "sidewalk",
    "construction--structure--bridge": "bridge",
    "construction--structure--building": "building",
    "construction--structure--garage": "building",
    "construction--structure--tunnel": "tunnel",
    "human--person": "person",
    "human--rider": "rider",
    "marking": "road",
    "marking-only": "road",
    "nature--sand": "terrain",
    "nature--sky": "sky",
    "nature--terrain": "terrain",
    "nature--vegetation": "vegetation",
    "object--catch-basin": "road",
    "object--manhole": "road",
    "object--pothole": "road",
    "object--support--pole": "pole",
    "object--support--pole-group": "polegroup",
    "object--support--utility-pole": "pole",
    "object--traffic-light": "traffic light",
    "object--traffic-sign--direction-front": "traffic sign",
    "object--traffic-sign--front": "traffic sign",
    "object--traffic-sign--information-parking": "traffic sign",
    "object--traffic-sign--temporary-front": "traffic sign",
    "object--vehicle--bicycle": "bicycle",
    "object--vehicle--bus": "bus",
    "object--vehicle--car": "car",
    "object--vehicle--caravan": "caravan",
    "object--vehicle--motorcycle": "motorcycle",
    "object--vehicle--on-rails": "train",
    "object--vehicle--trailer": "trailer",
    "object--vehicle--truck": "truck",
    "void--ego-vehicle": "ego vehicle",
}
"""Names of both versions, or their beginnings, to the label of Cityscapes whose definition covers them. The others,
such as the backs of signs, groups of vehicles and boats, are void there.
"""


class VistasPart(DatasetPart):
    """This says which classes are read, and whether they become those of Cityscapes."""

    version: Literal["1.2", "2.0"] = "2.0"
    labels: Literal["own", "cityscapes"] = "own"


class Vistas(Foreign):
    """Mapillary Vistas in the layout of its release 2.0, which holds both versions, or 1.2 as it was released alone."""

    Part = VistasPart
    LAYOUT: ClassVar[str] = (
        "config_v*.json and {training,validation}/ with images/ and v*/instances/, or, of 1.2 alone, config.json and "
        "instances/ beside images/"
    )
    part: VistasPart

    @cached_property
    def meaning(self) -> Meaning:
        classes = [self._class(code, one) for code, one in enumerate(self._listed)]
        where = self._config
        if self.part.labels == "own":
            return own("vistas", classes, where)
        grouped = frozenset(one.code for one in classes if not one.thing)
        named = [one.model_copy(update={"evaluated": True, "cityscapes": _cityscapes(one.name)}) for one in classes]
        found = cityscapes(named, where)
        return Meaning(labels=found.labels, label_ids=found.label_ids, alone=grouped)

    def described_by(self) -> list[Path]:
        return [self._config]

    def found_of(self, split: str) -> Iterator[Found]:
        """Yield the files of each frame; HarnessError for an image without annotation, and the reverse."""
        if split not in FOLDERS:
            raise HarnessError(f"{self.part.label}: no split {split!r}", hint=f"known: {', '.join(FOLDERS)}")
        decoder, folder = Grey(meaning=self.meaning, base=256), FOLDERS[split]
        images, instances = f"{folder}/images/{{frame}}.jpg", f"{folder}/{self._above}instances/{{frame}}.png"
        for fields, image, annotation in self.paired(images, instances):
            yield Found({"city": "vistas"} | fields, image, annotation, decoder)

    @property
    def _is_alone(self) -> bool:
        """Return whether 1.2 lies as it was released by itself."""
        return self.part.version == "1.2" and not (self.root / "config_v1.2.json").is_file()

    @property
    def _above(self) -> str:
        return "" if self._is_alone else f"v{self.part.version}/"

    @property
    def _config(self) -> Path:
        return self.root / ("config.json" if self._is_alone else f"config_v{self.part.version}.json")

    @cached_property
    def _listed(self) -> list[Any]:
        content = read_json(self._config, "list of labels", hint=self.hint)
        listed = content.get("labels") if isinstance(content, dict) else None
        if not isinstance(listed, list) or not listed:
            raise HarnessError(f"{self._config}: expected a list 'labels'", hint=self.hint)
        return listed

    def _class(self, code: int, given: Any) -> Class:
        if not isinstance(given, dict):
            raise HarnessError(f"{self._config}: labels.{code}: expected an object", hint=self.hint)
        known = {
            "code": code,
            "name": given.get("name"),
            "thing": given.get("instances", False),
            "category": str(given.get("name")).split("--")[0],
            "color": given.get("color") or [0, 0, 0],
            "evaluated": given.get("evaluate", True),
        }
        return parse(Class, known, f"{self._config}, labels.{code}")


def _cityscapes(name: str) -> str:
    """Return the label of the longest beginning that is listed; empty: none is."""
    parts = name.split("--")
    beginnings = ("--".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((CITYSCAPES_OF[one] for one in beginnings if one in CITYSCAPES_OF), "")
