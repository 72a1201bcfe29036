"""The environment record describes machine and software of a step; it enters every manifest and no key."""

import functools
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from harness import __version__
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
_DRIVER = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")


@functools.cache
def describe() -> dict[str, object]:
    """Commit, versions, processor and GPUs, as plain JSON."""
    return {
        **_provenance(),
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
    if not any(Path(sign).exists() for sign in _DRIVER) and not shutil.which("nvidia-smi"):
        return []  # a cluster may number GPUs that CUDA cannot use
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


UNKNOWN = "unknown"
"""Commit of code that lies in no clone of its own: an installed wheel, a copy without its history."""


def _provenance() -> dict[str, object]:
    """Version and commit of this code, and whether its files differ from that commit (None where that is unknown)."""
    code: dict[str, object] = {"version": __version__}
    # A wheel may lie in the clone of something else, whose commit says nothing of this code.
    if _git("rev-parse", "--show-toplevel") != str(REPOSITORY):
        return code | {"commit": UNKNOWN, "dirty": None}
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return code | {"commit": commit or UNKNOWN, "dirty": None if changes is None else bool(changes)}


def _git(*arguments: str) -> str | None:
    """What git says of the folder of this code; None where it says nothing, as for a folder that is no clone.

    Variables such as GIT_DIR, which a hook sets, name another repository. The clone may belong to another user, as a
    mounted one does: it is this code that runs, so it is trusted already.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", f"safe.directory={REPOSITORY}", *arguments]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, env=variables)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
