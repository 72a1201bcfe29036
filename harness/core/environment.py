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
ARITHMETIC = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "AVX2,STRICT",
    "OPENBLAS_CORETYPE": "Haswell",
}
"""Which code the libraries under torch and numpy choose for sums, where they would ask the processor: what every x86-64
with AVX2 has. MKL promises equal bits for these on every Intel processor with AVX2, whatever else it has; on those of
other makers for COMPATIBLE alone, which makes a training step half as slow again."""
_DRIVER = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")


def pin_arithmetic() -> None:
    """Choose `ARITHMETIC` in this process and its children, for libraries that are not loaded yet; variables that the
    user has set stay.
    """
    for name, value in ARITHMETIC.items():
        os.environ.setdefault(name, value)


@functools.cache
def processor() -> str:
    """Return the kind of processor: maker, family, model and the widest vectors, as far as the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            first = lines.read().split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    flags = found.get("flags", "").split()
    vectors = next((name for name in ("avx512f", "avx2", "avx", "sse4_2") if name in flags), platform.machine())
    known = [found[key] for key in ("vendor_id", "cpu family", "model") if key in found]
    return " ".join([*known, vectors])


@functools.cache
def describe() -> dict[str, object]:
    """Return commit, versions, processor and GPUs as plain JSON."""
    return {
        **_provenance(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "arithmetic": {name: os.environ[name] for name in ARITHMETIC if name in os.environ},
        "cores": cores(),
        "gpus": gpus(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def gpus() -> list[str]:
    """Return the NVIDIA GPUs that this process may use, by index or by the entries of CUDA_VISIBLE_DEVICES; torch is
    not needed.
    """
    if not any(Path(sign).exists() for sign in _DRIVER) and not shutil.which("nvidia-smi"):
        return []  # a cluster may number GPUs that CUDA cannot use
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [entry for entry in visible.split(",") if entry.strip() not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return [str(index) for index, line in enumerate(listing.stdout.splitlines()) if line.startswith("GPU ")]


def checked_device(device: str) -> str:
    """Return `device` if torch can work on it; HarnessError with the usable devices otherwise."""
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
    """Return what git says of the folder of this code; None where it says nothing, as for a folder that is no clone.

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
