"""A failure record says why a step ended badly; code compares its kind and never its text.

The kind decides what follows: the exit code of `run`, and whether the same command tries the step again.
"""

from typing import Any, Literal

from pydantic import Field

from harness.core.config import Strict

Kind = Literal["usage", "damaged", "disk", "error", "memory", "killed", "lost", "input"]
"""usage: the step refused its input. damaged: an input is not as it was made. disk: the disk took nothing more. error:
the stage raised. memory: the GPU is too small for one image at a time. killed: the process of the stage died again and
again. lost: the worker did. input: a step that this one needs failed."""

FROM_OUTSIDE: frozenset[Kind] = frozenset({"usage", "damaged", "disk", "input"})
"""Kinds that are mended outside of the harness: `run` then exits with 2."""

TRIED_AGAIN: frozenset[Kind] = frozenset({"usage", "damaged", "disk", "killed", "lost", "input"})
"""Kinds that the same command tries again; the others would fail in the same way."""


class Failure(Strict):
    """A record tells what is known of a failed step."""

    version: int = 2
    kind: Kind
    message: str
    hint: str = ""
    traceback: str = ""
    damaged: str = ""
    """Of an input that is not as it was made: <kind>/<key>."""
    label: str = ""
    log: str = ""
    """Path of what the process said, relative to the store."""
    progress: tuple[int, int, str] | None = None
    """The last progress: units done, units in all, note."""
    job: dict[str, str] = Field(default_factory=dict)
    """Where it was: host, launcher, job id, devices."""
    environment: dict[str, Any] = Field(default_factory=dict)
    """What `environment.describe` said there."""


INPUT_FAILED = Failure(kind="input", message="an input of it failed")
