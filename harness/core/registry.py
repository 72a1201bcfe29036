"""Names to classes, without importing them: `list` and `plan` know every name and import no torch.

An entry is "module:Class". Packages add entries of their own through the entry-point groups "harness.generators",
"harness.segmenters" and "harness.metrics"; a name that is taken already is an error.
"""

import importlib
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any

from harness.core.errors import HarnessError, near


@dataclass(frozen=True)
class Registry:
    """One kind of part. `builtin` maps a name to "module:Class"."""

    kind: str
    builtin: dict[str, str]

    @cached_property
    def entries(self) -> dict[str, str]:
        """All names with where they are, plug-ins included."""
        found = dict(self.builtin)
        for point in sorted(entry_points(group=f"harness.{self.kind}s"), key=lambda p: (p.name, p.value)):
            if found.get(point.name, point.value) != point.value:
                raise HarnessError(
                    f"the {self.kind} {point.name!r} is claimed by {point.value!r} and by {found[point.name]!r}",
                    hint="rename the entry point of one of them",
                )
            found[point.name] = point.value
        return found

    def names(self) -> list[str]:
        """Known names, sorted."""
        return sorted(self.entries)

    def has(self, name: str) -> bool:
        """Whether `name` is built."""
        return name in self.entries

    def missing(self, name: str) -> str:
        """Why `name` can't be used here ("not installed: ..."); nothing when it can."""
        found = self.load(name)
        return found.missing() if hasattr(found, "missing") else ""

    def load(self, name: str) -> Any:
        """The class called `name`; HarnessError when there is none."""
        if name not in self.entries:
            again = "a new entry point is seen after another `pip install` of its package"
            raise HarnessError(f"unknown {self.kind} adapter {name!r}", hint=f"{near(name, self.entries)} ({again})")
        module, _, attribute = self.entries[name].partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:  # the code of another package: whatever it raises is told, and the others go on
            raise HarnessError(
                f"the {self.kind} {name!r} can't be loaded from {self.entries[name]!r}: "
                f"{type(error).__name__}: {error}",
                hint="install what it needs, or mend the entry point of its package",
            ) from error


GENERATORS = Registry(
    "generator",
    {
        "identity": "harness.generators.controls:Identity",
        "recolor": "harness.generators.controls:Recolor",
        "blended": "harness.generators.blended:BlendedDiff",
        "diff_inpainting": "harness.generators.diff_inpainting:DiffInpainting",
        "gligen": "harness.generators.gligen:Gligen",
        "inpainting": "harness.generators.inpainting:Inpainting",
    },
)
SEGMENTERS = Registry(
    "segmenter",
    {
        "detectron2": "harness.segmenters.detectron2.adapter:Detectron2",
        "fastinst": "harness.segmenters.fastinst.adapter:FastInst",
        "mask2former": "harness.segmenters.mask2former.adapter:Mask2Former",
        "oneformer": "harness.segmenters.oneformer.adapter:OneFormer",
    },
)
METRICS = Registry(
    "metric",
    {
        "AP": "harness.metrics.instance:InstanceAP",
        "AP50": "harness.metrics.instance:AP50",
        "COCO_AP": "harness.metrics.coco:CocoAP",
        "IoU": "harness.metrics.semantic:PixelIoU",
        "PQ": "harness.metrics.panoptic:PanopticQuality",
    },
)
