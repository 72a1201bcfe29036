"""This build script copies into a wheel what commands read: suites, parts and accepted results (harness/_home).

Everything else about the build is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ("suites", "configs", "results/published", "results/baselines")


class BuildWithHome(build_py):
    """Builds as setuptools does, then copies what is shipped; an editable install reads it where it lies."""

    def run(self) -> None:
        """Build, then copy what is shipped."""
        super().run()
        if self.editable_mode:
            return
        home = Path(self.build_lib, "harness", "_home")
        shutil.rmtree(home, ignore_errors=True)
        for name in SHIPPED:
            shutil.copytree(ROOT / name, home / name)


setup(cmdclass={"build_py": BuildWithHome})
