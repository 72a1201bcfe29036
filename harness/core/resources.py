"""What a step needs of a machine. It decides where and when the step runs, never its result: it is in no key."""

from pydantic import Field

from harness.core.config import Strict


class Resources(Strict):
    """Needs of one step."""

    gpus: int = Field(default=0, ge=0)
    cpus: int = Field(default=1, ge=1)
    memory_gb: float = Field(default=4.0, gt=0)
    minutes: float | None = Field(default=None, gt=0)
    """Time limit for a cluster; None: the cluster's own."""
