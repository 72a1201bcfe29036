"""The graph says which steps can be made: those whose inputs are there."""

from collections import deque
from collections.abc import Collection, Mapping


class Graph:
    """Open steps by key, and what each waits for. Each step and each input is looked at once, whatever happens."""

    def __init__(self, needs: Mapping[str, Collection[str]]) -> None:
        """`needs`: the keys of the inputs of each step, in the order in which steps are to be made; inputs that are no
        steps are there already."""
        inputs = {key: {needed for needed in found if needed in needs} for key, found in needs.items()}
        self.unmet = {key: len(found) for key, found in inputs.items()}
        self.needed_by: dict[str, list[str]] = {key: [] for key in needs}
        for key, found in inputs.items():
            for needed in found:
                self.needed_by[needed].append(key)
        self.ready = deque(key for key, count in self.unmet.items() if not count)
        self.open = set(needs)

    def take(self) -> list[str]:
        """Return the steps that became ready since the last call, in their order."""
        taken = list(self.ready)
        self.ready.clear()
        return taken

    def done(self, key: str) -> None:
        """Mark a step as made; what waited for it alone becomes ready."""
        if key not in self.open:
            return
        self.open.discard(key)
        for dependant in self.needed_by[key]:
            self.unmet[dependant] -= 1
            if not self.unmet[dependant] and dependant in self.open:
                self.ready.append(dependant)

    def fail(self, key: str) -> list[str]:
        """Mark a step as failed; return the steps that need it, directly or not: they will never be ready."""
        self.open.discard(key)
        found, waiting = [], deque(self.needed_by[key])
        while waiting:
            dependant = waiting.popleft()
            if dependant in self.open:
                self.open.discard(dependant)
                found.append(dependant)
                waiting.extend(self.needed_by[dependant])
        return found
