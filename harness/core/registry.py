"""A registry maps names to classes without importing them: `list` and `plan` know every name and import no torch.

An entry is "module:Class". Packages add entries of their own through the entry-point groups "harness.datasets",
"harness.generators", "harness.segmenters" and "harness.metrics"; a name that is taken already is an error. The
registries of data sets, generators and segmenters stand beside the base class of their entries, that of metrics in
metrics/table.py.
"""

import importlib
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from harness.core.errors import HarnessError, near

Base = TypeVar("Base")


class Adapter:
    """An adapter is the class that does the work of a part; files of configs/ name it as `adapter`."""

    @classmethod
    def missing(cls) -> str:
        """Return why the adapter can't be used on this machine ("not installed: ..."); empty when it can."""
        return ""


@dataclass(frozen=True)
class Registry(Generic[Base]):
    """A registry holds the classes of one kind; `builtin` maps a name to "module:Class", and all of them derive from
    `base`.
    """

    kind: str
    builtin: dict[str, str]
    base: type[Base]

    @cached_property
    def entries(self) -> dict[str, str]:
        """Return all names with the places of their classes, plug-ins included."""
        found = dict(self.builtin)
        for point in sorted(entry_points(group=f"harness.{self.kind}s"), key=lambda p: (p.name, p.value)):
            if found.get(point.name, point.value) != point.value:
                raise HarnessError(
                    f"the {self.kind} {point.name!r} is claimed by {point.value!r} and by {found[point.name]!r}",
                    hint="rename the entry point of one of them",
                )
            found[point.name] = point.value
        return found

    def names(self) -> list[str]:
        """Return the known names, sorted."""
        return sorted(self.entries)

    def has(self, name: str) -> bool:
        """Return whether there is an entry called `name`."""
        return name in self.entries

    def load(self, name: str) -> type[Base]:
        """Return the class called `name`; HarnessError when there is none, or it does not derive from `base`."""
        if name not in self.entries:
            again = "a new entry point is seen after another `pip install` of its package"
            raise HarnessError(f"unknown {self.kind} adapter {name!r}", hint=f"{near(name, self.entries)} ({again})")
        module, _, attribute = self.entries[name].partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if not module.startswith("harness.") or (error.name or "harness").startswith("harness"):
                raise self._unloadable(name, error) from error
            raise HarnessError(
                f"the {self.kind} {name!r} needs {error.name}, which is not installed",
                hint="pip install 'harness[run]'",
            ) from None
        except Exception as error:  # the code of another package: whatever it raises is told, and the others go on
            raise self._unloadable(name, error) from error
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise HarnessError(
                f"the {self.kind} {name!r}: {self.entries[name]!r} does not derive from {self.base.__name__}",
                hint=f"write: class {attribute}({self.base.__name__}), from {self.base.__module__}",
            )
        return found

    def _unloadable(self, name: str, error: Exception) -> HarnessError:
        return HarnessError(
            f"the {self.kind} {name!r} can't be loaded from {self.entries[name]!r}: {type(error).__name__}: {error}",
            hint="install what it needs, or mend the entry point of its package",
        )
