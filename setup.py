"""Puts what a command reads beside the code, suites, parts and accepted results, into a wheel (harness/_home).

Everything else about the build is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ("suites", "configs", "results/published", "results/baselines")


class BuildWithHome(build_py):
    """As setuptools', and then copies what is shipped; an editable install reads it where it lies."""

    def run(self) -> None:
        """Build."""
        super().run()
        if self.editable_mode:
            return
        home = Path(self.build_lib, "harness", "_home")
        shutil.rmtree(home, ignore_errors=True)
        for name in SHIPPED:
            shutil.copytree(ROOT / name, home / name)


setup(cmdclass={"build_py": BuildWithHome})
