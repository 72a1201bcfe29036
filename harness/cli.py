"""The command line: with harness/commands, the only place that prints or exits.

    harness list | plan SUITE | run SUITE | report SUITE | check SUITE
    harness synthesize | evaluate | instances | export    single pieces, on anybody's data
    harness predict IMAGES                         a trained segmenter on anybody's images
    harness leaderboard                            the page of accepted rows

Exit codes: 0 fine, 1 a step failed or a checked metric is worse, 2 bad input, 3 a check could not compare, 130
interrupted. Results go to standard output, everything else to standard error.
"""

import argparse
import sys
from collections.abc import Sequence

from harness import __version__
from harness.commands import data, predict, suites
from harness.core.errors import HarnessError


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script `harness`."""
    sys.exit(_run(_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    try:
        return options.command(options)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness", description="Do synthesised instances really make a segmenter better?"
    )
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (suites, data, predict):
        group.add(commands)
    return parser


if __name__ == "__main__":
    main()
