"""A step that is missing may have been made by other versions of the code: that artifact answers the same question and
is not comparable.

It has another key, so that nothing takes it for the step's own. Here it is found by what was asked for, to be told.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from harness.core.config import Strict
from harness.core.index import index
from harness.core.store import Store
from harness.planning.plan import Step
from harness.stages import STAGES


class OtherVersion(Strict):
    """An artifact of the store that other code made in place of a missing step."""

    kind: str
    label: str
    key: str
    """Of the missing step."""
    made: str
    """The key of what is there."""
    harness: str
    """The version of the package that made it."""
    stage: int
    """The version of the stage that made it."""
    now: int
    """The version of the stage here."""

    @property
    def text(self) -> str:
        """Say who made it, and that it does not count."""
        if self.stage == self.now:
            return f"made by harness {self.harness} from other versions of data or inputs, not comparable"
        made = f"made by version {self.stage} of the stage (harness {self.harness})"
        return f"{made}, not comparable with version {self.now}"


def other_versions(missing: Mapping[str, Step], store: Store) -> dict[str, OtherVersion]:
    """Return what other versions made of `missing` steps, by the key of the step; of several the newest."""
    wanted = {step.identity: step for step in missing.values() if step.identity}
    if not wanted:
        return {}
    found = {}
    for entry in sorted(index(store), key=lambda entry: entry.started):
        step = wanted.get(entry.identity)
        if step is not None and entry.kind == step.kind and entry.key != step.key:
            found[step.key] = OtherVersion(
                kind=step.kind,
                label=step.label,
                key=step.key,
                made=entry.key,
                harness=entry.harness,
                stage=entry.stage,
                now=STAGES[step.kind].version,
            )
    return found


def summary(found: Iterable[OtherVersion]) -> list[str]:
    """Return a line for the steps of a stage that were made in the same way."""
    counts = Counter((one.kind, one.text) for one in found)
    return [f"{kind}: {count} {'step' if count == 1 else 'steps'} {text}" for (kind, text), count in counts.items()]
