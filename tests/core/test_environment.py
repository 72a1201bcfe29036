"""Provenance: the commit is that of this code, or it is said to be unknown. And sums come out the same whatever
instructions a processor has, as far as one machine can show that.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core import environment
from harness.core.paths import REPOSITORY

ASK = "import json; from harness.core.environment import describe; print(json.dumps(describe()))"


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", f"safe.directory={folder}"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True, env=variables
    )
    return done.stdout.strip()


def described(code: Path, **variables: str) -> dict:
    import json

    program = [sys.executable, "-c", ASK]
    environment = os.environ | {"PYTHONPATH": str(code)} | variables
    done = subprocess.run(program, cwd=code, capture_output=True, text=True, check=True, env=environment, timeout=60)
    return json.loads(done.stdout)


@pytest.fixture
def clone(tmp_path) -> Path:
    """A repository with this package's code in it, committed."""
    root = tmp_path / "clone"
    shutil.copytree(
        REPOSITORY / "harness", root / "harness", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
    )
    git(tmp_path, "init", "-q", str(root))
    git(root, "add", "-A")
    git(root, "commit", "-qm", "code")
    return root


@pytest.fixture
def other(tmp_path) -> Path:
    root = tmp_path / "other"
    root.mkdir()
    git(tmp_path, "init", "-q", str(root))
    git(root, "commit", "-q", "--allow-empty", "-m", "other")
    return root


def test_the_commit_is_that_of_the_code_whatever_a_hook_says(clone, other):
    found = described(clone, GIT_DIR=str(other / ".git"), GIT_WORK_TREE=str(other))
    assert found["commit"] == git(clone, "rev-parse", "HEAD") and found["dirty"] is False
    (clone / "harness" / "cli.py").write_text("# changed\n")
    assert described(clone)["dirty"] is True


def test_code_inside_another_repository_has_an_unknown_commit(clone, other):
    shutil.copytree(clone / "harness", other / "site" / "harness")
    git(other, "add", "-A")
    git(other, "commit", "-qm", "vendored")
    found = described(other / "site")
    assert found["commit"] == "unknown" and found["dirty"] is None and found["version"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_clone_of_another_user_is_known_all_the_same(clone):
    (clone / "harness" / "cli.py").write_text("# changed\n")
    for path in [clone, *clone.rglob("*")]:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    found = described(clone)
    assert found["commit"] == git(clone, "rev-parse", "HEAD") and found["dirty"] is True


SUMS = """
from harness.core.environment import pin_arithmetic
pin_arithmetic()
import hashlib, torch
torch.manual_seed(0)
torch.set_num_threads(1)
nn = torch.nn
layers = nn.Sequential(nn.Conv2d(3, 32, 4, 4), nn.GroupNorm(4, 32), nn.GELU(),
    nn.Conv2d(32, 32, 7, padding=3, groups=32), nn.Flatten(2), nn.Linear(288, 96), nn.Softmax(-1))
optimizer = torch.optim.AdamW(layers.parameters(), lr=1e-2, fused=True)
for step in range(3):
    loss = (layers(torch.randn(4, 3, 48, 96)).log() ** 2).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
print(torch.backends.cpu.get_cpu_capability(), hashlib.sha256(b"".join(p.detach().numpy().tobytes()
    for p in layers.parameters())).hexdigest())
"""


def test_what_the_user_set_stays(monkeypatch):
    for name in environment.ARITHMETIC:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    environment.pin_arithmetic()
    assert os.environ["MKL_CBWR"] == "AVX2" and os.environ["ATEN_CPU_CAPABILITY"] == "avx2"
    assert environment.processor()


@pytest.mark.slow
def test_a_training_has_equal_bits_under_other_instructions():
    """What torch itself picks and MKL's choice are pinned."""
    if " avx" not in environment.processor():
        pytest.skip("this processor has no AVX2")
    found = set()
    for instructions in ("AVX2", ""):
        variables = {name: value for name, value in os.environ.items() if name not in environment.ARITHMETIC}
        if instructions:
            variables["MKL_ENABLE_INSTRUCTIONS"] = instructions
        done = subprocess.run([sys.executable, "-c", SUMS], env=variables, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1 and found.pop().startswith("AVX2 ")
