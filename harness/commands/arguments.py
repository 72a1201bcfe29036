"""This module holds what commands share: a parser that suggests near names, checked arguments, and the console."""

import argparse
import difflib
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from harness.core.errors import HarnessError, near

if TYPE_CHECKING:
    from harness.core.store import Store
    from harness.data.base import Dataset
    from harness.planning.changes import Changes
    from harness.planning.plan import Plan

WIDTH_OF_A_FILE = 200
FORMATS = ("console", "markdown", "csv", "json", "latex", "html")


class Parser(argparse.ArgumentParser):
    """A parser that refuses abbreviations and names what is near a misspelt command, choice or option."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does; an option that is misspelt is reported before one that is missing."""
        given = sys.argv[1:] if args is None else list(args)
        for argument in given:
            if argument == "--" or (self._subparsers and not argument.startswith("-")):
                break  # what follows is no option, or belongs to a command
            option = argument.partition("=")[0]
            if re.match(r"-[^\d.]", option) and option not in self._option_string_actions:
                self.unknown(argument, option)
        return super().parse_known_args(given, namespace)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does; an argument too many is reported by the command it was given to."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            getattr(found, "parser", self).error(f"unknown argument {unknown[0]!r}")
        return found

    def unknown(self, argument: str, option: str) -> NoReturn:
        """Exit with an error that names the options near an unknown one."""
        names = {name.lstrip("-"): name for name in self._option_string_actions if name.startswith("--")}
        close = difflib.get_close_matches(option.lstrip("-"), names, cutoff=0.6)
        hint = near(option, [names[one] for one in close]) if close else near("", names.values())
        self.error(f"unknown argument {argument!r}: {hint}")

    def error(self, message: str) -> NoReturn:
        """End with exit code 2, one sentence and where help is."""
        if wrong := re.match(r"argument (.+): invalid choice: '(.*)' \(choose from (.+)\)", message):
            what, found, listed = wrong.groups()
            what = "unknown command" if what == "COMMAND" else f"{what}: unknown value"
            known = re.findall(r"'([^']+)'", listed)
            message = f"{what} {found!r}: {near(found, known)}"
        if self._subparsers and message.startswith("the following arguments are required"):
            commands = (name for action in self._actions for name in action.choices or ())
            message = f"a command is missing; {near('', commands)}"
        self.exit(2, f"error: {message}\n  see `{self.prog} --help`\n")


def count(text: str) -> int:
    """Return a whole number of at least 1."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """Return a whole number of at least 0."""
    return _at_least(0, text)


def listed(text: str) -> tuple[str, ...]:
    """Return names with commas between them."""
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"expected names with commas between them, found {text!r}")
    return found


def seeds(text: str) -> tuple[int, ...]:
    """Parse seeds: `5` means the seeds 0 to 4, `0,3,7` means these."""
    from harness.planning.changes import seeds_of

    try:
        return seeds_of([*map(natural, text.split(","))] if "," in text else count(text))
    except HarnessError as error:
        raise argparse.ArgumentTypeError(error.message) from None


def _at_least(low: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if value < low:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {low}, found {text!r}")
    return value


def console(*, stderr: bool = False) -> Any:
    """Return the console to print to: as wide as COLUMNS says, else as the terminal is; in a file, of a fixed width."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    told = os.environ.get("COLUMNS", "").isdigit()
    width = None if told or (stream is not None and stream.isatty()) else WIDTH_OF_A_FILE
    # Names and paths come from outside: nothing in them is markup, or the code of a picture.
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def add_suite(commands: Any, name: str, help_text: str) -> Any:
    """Add a command about a suite: with its name, profile, data root, store, and what is changed of it."""
    one = commands.add_parser(name, help=help_text)
    one.add_argument("suite", help="a name of suites/*.toml, or a path of such a file")
    add_plan(one)
    add_choice(one)
    return one


def add_choice(one: Any) -> None:
    """Add the options that choose rows."""
    one.add_argument("--only", type=listed, default=(), metavar="NAMES", help="only rows of these parts, as a,b,c")
    one.add_argument("--without", type=listed, default=(), metavar="NAMES", help="no rows of these parts")


def add_plan(one: Any) -> None:
    """Add what decides a plan beside its suite and the rows of it that are chosen."""
    one.add_argument("--profile", default="mini", help="mini (default), smoke or paper")
    one.add_argument(
        "--data-root", metavar="DIR", help="the data set, for a profile of one on disk (default: CITYSCAPES_DATASET)"
    )
    one.add_argument("--store", metavar="DIR", help="where artifacts go (default: HARNESS_STORE or results/store)")
    one.add_argument("--recipe", default="", metavar="NAME", help="for rows that name none (default: the profile's)")
    one.add_argument("--with", dest="added", type=listed, default=(), metavar="NAMES", help="rows of more parts")
    one.add_argument("--seeds", type=seeds, default=(), metavar="N", help="how many seeds, or which, as 0,3,7")
    one.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of a part: kind.name.key=value; repeatable",
    )


def add_json(one: Any, help_text: str = "print it as JSON") -> None:
    """Add the option that asks for JSON."""
    one.add_argument("--json", action="store_true", help=help_text)


def print_json(content: Any) -> None:
    """Print values as JSON."""
    print(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))


def changes_of(options: argparse.Namespace) -> "Changes":
    """Return what the options of a command about a suite change of it."""
    from harness.planning.changes import Changes, parse_setting

    return Changes(
        recipe=options.recipe,
        only=getattr(options, "only", ()),
        without=getattr(options, "without", ()),
        added=getattr(options, "added", ()),
        seeds=options.seeds,
        settings=tuple(map(parse_setting, options.set)),
    )


def given_root(options: argparse.Namespace) -> Path | None:
    """Return the data root that the command line names; None for that of the environment, where a profile wants one."""
    return Path(options.data_root).absolute() if options.data_root else None


def planned(options: argparse.Namespace) -> tuple["Plan", "Store"]:
    """Return the plan of the suite that a command names, under its profile, and the store."""
    from harness.core.paths import store_root
    from harness.core.store import Store
    from harness.planning.plan import make_plan
    from harness.report import spec_of
    from harness.results.collect import check_published

    root = given_root(options)
    plan = make_plan(options.suite, options.profile, data_root=root, changes=changes_of(options))
    # Mistakes that only the report would meet are told before hours of training, not after them.
    spec_of(plan.suite)
    check_published(plan)
    return plan, Store(store_root(options.store))


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the option that says what kind of data set lies in a folder."""
    parser.add_argument(
        "--data", default="cityscapes", metavar="NAME", help="what lies there: a name of configs/datasets (cityscapes)"
    )


def dataset_in(folder: str, options: argparse.Namespace) -> "Dataset":
    """The data set in a folder, of the kind that `--data` names."""
    from harness.data.base import open_dataset
    from harness.planning.suite import load_dataset_part

    return open_dataset(load_dataset_part(options.data, "mini"), Path(folder))
