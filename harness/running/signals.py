"""This module tells a worker at once that it must end: by a signal, or because its launcher has ended."""

import contextlib
import os
import selectors
import signal
from typing import Any


class Signals:
    """Notices that the worker must end, and wakes whoever waits. `life`: a descriptor that ends with the launcher."""

    def __init__(self, life: int | None = None) -> None:
        self.life = life
        self.asked = False
        """Whether the worker is to end."""
        self.number = 0
        """The signal that said so; 0 when the launcher is gone."""
        self.selector = selectors.DefaultSelector()
        self._reading, self._writing = os.pipe()

    def __enter__(self) -> "Signals":
        for descriptor in (self._reading, self._writing):
            os.set_blocking(descriptor, False)
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        handlers = dict.fromkeys((signal.SIGTERM, signal.SIGUSR2, signal.SIGINT), self._ask)
        self._old = {name: signal.signal(name, handler) for name, handler in handlers.items()}
        self._old[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(self._reading, selectors.EVENT_READ)
        if self.life is not None:
            self.selector.register(self.life, selectors.EVENT_READ)
        return self

    def __exit__(self, *_: object) -> None:
        for name, handler in self._old.items():
            signal.signal(name, handler)
        signal.set_wakeup_fd(self._wakeup)
        self.selector.close()
        os.close(self._reading)
        os.close(self._writing)

    def wait(self, seconds: float) -> None:
        """Wait until something happens, at most so long."""
        for key, _ in self.selector.select(seconds):
            if key.fd == self._reading:
                read(self._reading)
            elif key.fd == self.life and not os.read(self.life, 4096):
                self.asked = True
                self.selector.unregister(self.life)

    def _ask(self, number: int, *_: Any) -> None:
        self.asked, self.number = True, number


def read(descriptor: int) -> bytes:
    """Return all that can be read without waiting."""
    found = b""
    with contextlib.suppress(BlockingIOError):
        while part := os.read(descriptor, 65536):
            found += part
    return found
