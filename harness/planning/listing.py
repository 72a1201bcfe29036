"""The listing names all suites, profiles and parts, and says whether each is built here."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from harness.core.errors import HarnessError
from harness.core.registry import Registry
from harness.data.base import DATASETS
from harness.generators.base import GENERATORS
from harness.metrics.table import METRICS, load_metric, plugins
from harness.planning.plan import NONE
from harness.planning.suite import load_part, load_profile, load_suite, names
from harness.segmenters.base import SEGMENTERS


class ListedItem(NamedTuple):
    """One choosable thing; `state` is "built", or says what is missing."""

    kind: str
    name: str
    label: str
    state: str


def entries() -> Iterator[ListedItem]:
    """Yield all that can be chosen, kind by kind, sorted by name; plug-ins stand under the adapters."""
    for name in names("suites"):
        yield ListedItem("suite", name, load_suite(name).title, "")
    for name in names("profiles"):
        yield ListedItem("profile", name, load_profile(name).caption, "")
    yield from _parts("datasets", DATASETS)
    yield from _parts("generators", GENERATORS)
    yield from _parts("segmenters", SEGMENTERS)
    for name in names("recipes"):
        yield ListedItem("recipe", name, "", "")
    for name in plugins():
        yield ListedItem("metric", name, METRICS.entries[name], _usable(name))


def _parts(kind: str, registry: Registry[Any]) -> Iterator[ListedItem]:
    singular = kind.removesuffix("s")
    used = set()
    for name in names(kind):
        data, _ = load_part(kind, name, "mini")
        adapter = data.get("adapter", "")
        used.add(adapter)
        yield ListedItem(data.get("role", singular), name, data.get("label", ""), _state(adapter, registry))
    for name in registry.names():
        if name not in used:
            yield ListedItem(
                f"{singular} adapter", name, registry.entries[name], f"{_state(name, registry)}, no part uses it"
            )


def _usable(metric: str) -> str:
    try:
        load_metric(metric)
    except HarnessError as error:
        return f"not usable: {error.message}"
    return "installed"


def _state(adapter: str, registry: Registry[Any]) -> str:
    if adapter == NONE:
        return "built"
    if not registry.has(adapter):
        return f"not built: no adapter {adapter!r}"
    try:
        return registry.load(adapter).missing() or "built"
    except HarnessError as error:
        return f"not built: {error.message}"
