"""Paths lead to shipped files (suites, parts, accepted results) and to the user's; a command chooses their roots.

In a clone what is shipped lies beside the package, in an installed wheel inside it (`_home`, which the build fills).
The folder in which a command runs comes first: its `configs/` and `suites/` add to what is shipped.

Two environment variables exist and no more: CITYSCAPES_DATASET (the data root) and HARNESS_STORE (where artifacts
go).
"""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
"""The clone that this package lies in; of an installed wheel the folder of packages, which holds nothing of ours."""
_PACKAGE = Path(__file__).resolve().parents[1]
HOME = REPOSITORY if (REPOSITORY / "suites").is_dir() and (REPOSITORY / "configs").is_dir() else _PACKAGE / "_home"
"""Where what is shipped lies."""
CONFIGS = HOME / "configs"
SUITES = HOME / "suites"


def working_folder() -> Path | None:
    """Return the folder in which the command runs; None where that is the clone itself or no longer exists."""
    try:
        here = Path.cwd().resolve()
    except OSError:
        return None
    return None if here == HOME else here


def store_root(given: str | None) -> Path:
    """Return the folder of the store: `--store`, else HARNESS_STORE, else `store` among the user's results."""
    return Path(given or os.environ.get("HARNESS_STORE") or results_folder() / "store").absolute()


def data_root(given: str | Path | None) -> Path | None:
    """Return the folder of the data set: `--data-root`, else CITYSCAPES_DATASET, else None."""
    root = given or os.environ.get("CITYSCAPES_DATASET")
    return Path(root).absolute() if root else None


def results_folder() -> Path:
    """Return the folder `results/` to write to: that of the clone, else that of the folder in which the command
    runs.
    """
    return (REPOSITORY if HOME == REPOSITORY else Path.cwd()) / "results"


def shipped_results() -> Path:
    """Return the shipped folder `results/`, with accepted rows and published numbers."""
    return HOME / "results"
