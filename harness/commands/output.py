"""This module makes standard output take every text, and raises OutputError where it cannot write (closed, full).

Signs that its encoding lacks are spelt with others: a minus must not become a question mark.
"""

import codecs
import contextlib
import io
import os
import sys

from harness.core.streams import Messages

PLAIN = {
    **dict.fromkeys("−–─━", "-"),
    **dict.fromkeys("│┃", "|"),
    "±": "+-",
    "×": "x",
    "·": "*",
    "↑": "^",
    "↓": "v",
    "Δ": "delta",
    "†": "*",
    "…": "...",
}
"""Sign to what stands for it in an encoding that lacks it; all others become escapes."""


class OutputError(Exception):
    """Standard output could not be written."""


class Output(io.TextIOWrapper):
    """A text stream that raises OutputError, and no OSError, when it can't write."""

    def write(self, text: str, /) -> int:
        """Write as every text stream does; OutputError when it is refused."""
        try:
            return super().write(text)
        except (OSError, ValueError) as error:
            raise _refused(error) from None

    def flush(self) -> None:
        """Flush as every text stream does; OutputError when it is refused."""
        try:
            super().flush()
        except (OSError, ValueError) as error:
            raise _refused(error) from None


def prepare() -> None:
    """Make the process's own standard streams take every text; called once, before anything is printed."""
    codecs.register_error("harness.plain", _plain)
    stream = sys.stderr
    if isinstance(stream, io.TextIOWrapper) and stream is sys.__stderr__:
        encoding, lines = stream.encoding, stream.line_buffering
        sys.stderr = Messages(stream.detach(), encoding=encoding, errors="harness.plain", line_buffering=lines)
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper) and stream is sys.__stdout__:
        encoding, lines = stream.encoding, stream.line_buffering
        sys.stdout = Output(stream.detach(), encoding=encoding, errors="harness.plain", line_buffering=lines)


def finish() -> None:
    """Flush standard output; OutputError when it is refused, or when there is no standard output."""
    if sys.stdout is None:
        raise OutputError("it is closed")
    sys.stdout.flush()


def give_up() -> None:
    """Redirect standard output to the null device, or Python would complain of it when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError, OutputError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused(error: OSError | ValueError) -> OutputError:
    return OutputError(getattr(error, "strerror", None) or "it is closed")


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in lost), error.end
