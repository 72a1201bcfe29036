"""Provenance: the commit is that of this code, or it is said to be unknown."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
