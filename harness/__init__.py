"""This package measures whether synthesised instances improve a segmenter.

What Python programs use is in harness/api.py and harness/training_metrics.py, and loaded when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import (
        Comparisons,
        Rows,
        Scores,
        Synthesis,
        compare,
        draw_dataset,
        evaluate,
        import_images,
        import_predictions,
        plan,
        rows,
        run,
        synthesize,
    )
    from harness.core.errors import HarnessError
    from harness.training_metrics import InstanceAP, MeanIoU, PanopticQuality

__version__ = "0.1.0"

_HOME = {
    **dict.fromkeys(("Comparisons", "Rows", "Scores", "Synthesis"), "harness.api"),
    **dict.fromkeys(("compare", "evaluate", "plan", "rows", "run", "synthesize"), "harness.api"),
    **dict.fromkeys(("draw_dataset", "import_images", "import_predictions"), "harness.api"),
    **dict.fromkeys(("InstanceAP", "MeanIoU", "PanopticQuality"), "harness.training_metrics"),
    "HarnessError": "harness.core.errors",
}

__all__ = [
    "Comparisons",
    "HarnessError",
    "InstanceAP",
    "MeanIoU",
    "PanopticQuality",
    "Rows",
    "Scores",
    "Synthesis",
    "__version__",
    "compare",
    "draw_dataset",
    "evaluate",
    "import_images",
    "import_predictions",
    "plan",
    "rows",
    "run",
    "synthesize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
