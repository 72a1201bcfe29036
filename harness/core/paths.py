"""Paths of the repository's own data, and the roots that a command may choose.

Two environment variables exist and no more: CITYSCAPES_DATASET (the data root) and HARNESS_STORE (where artifacts
go).
"""

import os
from pathlib import Path

from harness.core.errors import HarnessError

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "configs"
SUITES = REPOSITORY / "suites"
RESULTS = REPOSITORY / "results"


def store_root(given: str | None) -> Path:
    """The store: `--store`, else HARNESS_STORE, else results/store in the repository."""
    return Path(given or os.environ.get("HARNESS_STORE") or RESULTS / "store").absolute()


def data_root(given: str | None) -> Path | None:
    """The data set on disk: `--data-root`, else CITYSCAPES_DATASET, else None."""
    root = given or os.environ.get("CITYSCAPES_DATASET")
    return Path(root).absolute() if root else None


def results_folder() -> Path:
    """`results/` of the repository this package is installed from; HarnessError where there is none."""
    if not (RESULTS / "published").is_dir():
        raise HarnessError(
            f"{RESULTS / 'published'}: not found; the committed results live in the repository",
            hint="install from a clone: pip install -e .",
        )
    return RESULTS
