"""The command line or the user's own file chooses the launcher that runs the steps. No key depends on it.

~/.config/harness.toml      [launcher] name = "slurm", [launcher.slurm], [launcher.ray]
"""

from pathlib import Path
from typing import Literal, get_args

from harness.core.config import Strict, parse, read_toml
from harness.core.store import Store
from harness.running.launcher import Launcher
from harness.running.ray import RayOptions
from harness.running.slurm import SlurmOptions

Name = Literal["local", "slurm", "ray"]
NAMES: tuple[Name, ...] = get_args(Name)


class LauncherTable(Strict):
    """The table [launcher]."""

    name: Name = "local"
    slurm: SlurmOptions = SlurmOptions()
    ray: RayOptions = RayOptions()


class UserFile(Strict):
    """The user's file describes the machines of the user; it decides no result."""

    launcher: LauncherTable = LauncherTable()


def user_file() -> UserFile:
    """Return the user's file; what it leaves out, or its absence, means the defaults."""
    path = Path.home() / ".config" / "harness.toml"
    return parse(UserFile, read_toml(path), path) if path.is_file() else UserFile()


def launcher_of(name: Name | None, store: Store, *, workers: int | None, devices: int) -> Launcher:
    """Return the launcher called `name`, or the one that the user's file names."""
    table = user_file().launcher
    match name or table.name:
        case "slurm":
            from harness.running.slurm import Slurm

            return Slurm(store, table.slurm, workers=workers)
        case "ray":
            from harness.running.ray import Ray

            return Ray(store, table.ray, workers=workers)
        case _:
            from harness.running.local import Local

            return Local(store, workers=workers, devices=devices)
