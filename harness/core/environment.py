"""What machine and software a step runs on: goes into every manifest, never into a key."""

import functools
import os
import platform
import shutil
import subprocess
from importlib import metadata

from harness.core.errors import HarnessError
from harness.core.paths import REPOSITORY

PACKAGES = (
    "numpy",
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "accelerate",
    "torchmetrics",
    "cityscapesscripts",
)


@functools.cache
def describe() -> dict[str, object]:
    """Commit, versions, processor and GPUs, as plain JSON."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "gpus": gpus(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def gpus() -> list[str]:
    """NVIDIA GPUs this process may use, by index or by the entries of CUDA_VISIBLE_DEVICES; no torch needed."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [entry for entry in visible.split(",") if entry.strip() not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return [str(index) for index, line in enumerate(listing.stdout.splitlines()) if line.startswith("GPU ")]


def checked_device(device: str) -> str:
    """`device` if torch can work on it; HarnessError that says which there are."""
    import torch

    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        count = torch.cuda.device_count()
        there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
        reason = str(error).strip().splitlines()[0][:200]
        raise HarnessError(
            f"device {device!r} can't be used: {reason}",
            hint=f"torch {torch.__version__} sees: {there}; CUDA_VISIBLE_DEVICES= hides the GPUs",
        ) from None
    return device


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
