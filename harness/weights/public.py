"""The table public.toml describes public checkpoints that need not be here: their classes, configurations, sizes,
licences.

Torch-free. Building a network of them, on the meta device or at random, is `empty`.
"""

import functools
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.core.config import Strict, parse, read_toml

_FILE = Path(__file__).with_name("public.toml")


class PublicNetwork(Strict):
    """One network: its class ("diffusers.AutoencoderKL"), what that takes, and its parameters in millions."""

    kind: str = Field(alias="class")
    millions: float
    config: dict[str, Any]


class Checkpoint(Strict):
    """A checkpoint of a generator: its networks by component ("." for the folder itself)."""

    license: str
    gated: bool = False
    """Whether the hub asks for a login and consent first."""
    parts: dict[str, str]

    @property
    def networks(self) -> dict[str, PublicNetwork]:
        """The networks themselves, by component."""
        return {part: _table().networks[name] for part, name in self.parts.items()}

    @property
    def millions(self) -> float:
        """Parameters of all its networks."""
        return sum(network.millions for network in self.networks.values())


class BackboneSizes(Strict):
    """The feature extractor of a checkpoint: its architecture in transformers and what that takes; neither where the
    part that names it says its sizes."""

    license: str
    bring: str = ""
    """Commands that bring it, where it is no hub id."""
    family: Literal["swin", "convnext", "convnextv2", "resnet"] | None = None
    config: dict[str, Any] = {}


class _Table(Strict):
    networks: dict[str, PublicNetwork]
    generators: dict[str, Checkpoint]
    backbones: dict[str, BackboneSizes]


def generators() -> dict[str, Checkpoint]:
    """Return the known checkpoints of generators, by hub id."""
    return _table().generators


def backbones() -> dict[str, BackboneSizes]:
    """Return the known checkpoints of segmenters, by the name that a part gives them."""
    return _table().backbones


def empty(network: PublicNetwork) -> Any:
    """Return the network without weights, on torch's current default device ("meta" takes no memory)."""
    import importlib

    library, _, name = network.kind.partition(".")
    kind = getattr(importlib.import_module(library), name)
    return kind(kind.config_class(**network.config)) if library == "transformers" else kind(**network.config)


@functools.cache
def _table() -> _Table:
    return parse(_Table, read_toml(_FILE), _FILE)
