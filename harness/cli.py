"""This module runs the command line; only this module and harness/commands print or exit.

    harness list | plan SUITE | run SUITE | report SUITE | check SUITE
    harness rehearse SUITE                         whether `run` would end: checks, then short runs
    harness compare A B                            two suites, stores, baselines or rows
    harness cite SUITE                             BibTeX of what its numbers stand on
    harness push SUITE TARGET                      report and rows to a folder or the hub
    harness dataset | import-images                images of your own as a row
    harness synthesize | evaluate | instances | export    single pieces, on anybody's data
    harness predict IMAGES                         a trained segmenter on anybody's images
    harness power SUITE                            seeds and images that a stated effect takes
    harness leaderboard                            the page of accepted rows

Exit codes: 0 fine, 1 a step failed or a checked metric is worse, 2 bad input, 3 a check could not compare, 4 standard
output took no text (files are written all the same), 130 interrupted. Results go to standard output, everything else to
standard error.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Sequence

from harness import __version__
from harness.commands import (
    check,
    cite,
    compare,
    data,
    imports,
    output,
    power,
    predict,
    push,
    rehearse,
    status,
    store,
    suites,
    worker,
)
from harness.commands.arguments import Parser
from harness.core.errors import HarnessError

NO_OUTPUT = 4
"""Exit code when standard output is closed, full or gone: what was to be printed was not."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script `harness`."""
    output.prepare()
    sys.exit(_run(list(sys.argv[1:] if arguments is None else arguments)))


def _run(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends a command as tidily as Ctrl-C does
    try:
        parser = _parser()
        if "_ARGCOMPLETE" in os.environ:
            from harness.commands.completion import complete

            complete(parser)
        code = _obeyed(parser, arguments or ["--help"])
        output.finish()
        return code
    except HarnessError as error:
        return _told(f"error: {error}", 2)
    except KeyboardInterrupt:
        return _told("interrupted; the same command goes on where this one stopped", 130)
    except output.OutputError as error:
        output.give_up()
        return _told(f"error: standard output took no text: {error}", NO_OUTPUT)
    except OSError as error:
        if error.filename is None:
            raise
        # A path that nobody foresaw: too long, a folder, a circle of links.
        return _told(f"error: {error.filename}: {error.strerror or error}", 2)


def _obeyed(parser: Parser, arguments: list[str]) -> int:
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:  # it has printed help, or what is wrong
        return int(end.code or 0)
    code: int = options.command(options)
    return code


def _told(text: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)
    return code


def _parser() -> Parser:
    parser = Parser(prog="harness", description="Do synthesised instances really make a segmenter better?")
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (suites, rehearse, status, check, compare, cite, push, power, store, data, imports, predict, worker):
        group.add(commands)
    for command in commands.choices.values():
        command.set_defaults(parser=command)
    return parser


if __name__ == "__main__":
    main()
