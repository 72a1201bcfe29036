"""Resources say what a step needs of a machine. They decide where and when it runs, never its result: no key holds
them."""

from pydantic import Field

from harness.core.config import Strict


class Resources(Strict):
    """A record of resources holds the needs of one step."""

    gpus: int = Field(default=0, ge=0)
    cpus: int = Field(default=1, ge=1)
    memory_gb: float = Field(default=4.0, gt=0)
    minutes: float | None = Field(default=None, gt=0)
    """Time limit for a cluster; None: the cluster's own."""
