"""What machine and software a step runs on: goes into every manifest, never into a key. And what keeps the machine out
of the numbers.
"""

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


ARITHMETIC = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
}
"""Which code the libraries under torch and numpy choose for sums, where they would ask the processor: what every x86-64
with AVX2 has. MKL promises equal bits on processors of other makers than Intel for COMPATIBLE alone."""


def pin_arithmetic() -> None:
    """Choose `ARITHMETIC` in this process and its children, for libraries that are not loaded yet; variables that the
    user has set stay.
    """
    for name, value in ARITHMETIC.items():
        os.environ.setdefault(name, value)


@functools.cache
def processor() -> str:
    """The kind of processor: maker, family and model, and the widest vectors, as far as the system tells."""
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
    """Commit, versions, processor and GPUs, as plain JSON."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "arithmetic": {name: os.environ[name] for name in ARITHMETIC if name in os.environ},
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
