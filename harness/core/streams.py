"""Streams for messages: where nobody takes them, the work goes on without."""

import contextlib
import io


class Messages(io.TextIOWrapper):
    """A text stream that drops what its file refuses: it is full, closed, or nobody reads it."""

    def write(self, text: str, /) -> int:
        """Write as every text stream does; drop what is refused."""
        with contextlib.suppress(OSError, ValueError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush as every text stream does; drop what is refused."""
        with contextlib.suppress(OSError, ValueError):
            super().flush()
