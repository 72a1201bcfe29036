"""A task is what travels to a worker: a step with everything that is needed to make it, as JSON."""

import shlex
import sys
from typing import Any

from harness.core.config import Strict
from harness.core.resources import Resources
from harness.core.store import Store
from harness.planning.plan import Step
from harness.stages import STAGES


class Input(Strict):
    """An artifact that a step reads. `external`: the folder of one that is not made but found."""

    kind: str
    key: str
    external: str | None = None
    part: dict[str, Any] | None = None
    """Of a data set: how it is read."""


class Task(Strict):
    """One step to be made. `spec` is parsed by the stage."""

    kind: str
    key: str
    label: str
    spec: dict[str, Any]
    inputs: dict[str, Input]
    resources: Resources = Resources()
    identity: str = ""
    command: str = ""
    """The command that asked for it."""

    def folder(self, name: str, store: Store) -> str:
        """Return where the input `name` lies."""
        needed = self.inputs[name]
        return needed.external or str(store.path(needed.kind, needed.key))


def task_of(step: Step, resources: Resources | None = None) -> Task:
    """Return the step as a task."""
    inputs = {
        name: Input(
            kind=i.kind,
            key=i.key,
            external=str(i.external) if i.external else None,
            part=i.spec.model_dump(mode="json") if i.kind == "dataset" else None,
        )
        for name, i in step.inputs.items()
    }
    return Task(
        kind=step.kind,
        key=step.key,
        label=step.label,
        spec=step.spec.model_dump(mode="json"),
        inputs=inputs,
        resources=resources or STAGES[step.kind].resources,
        identity=step.identity,
        command=shlex.join(["harness", *sys.argv[1:]]),
    )
