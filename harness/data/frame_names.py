"""One grammar names all frames, <city>_<sequence>_<frame>, for every command that reads, trains on, writes or scores
them.

The three parts are what the scripts of Cityscapes take a name apart into: any text without an underscore. So a hyphen,
an umlaut and a space may stand in them, and names of four parts or of two (KITTI, BDD100K) may not.
"""

import re
from collections.abc import Collection
from urllib.parse import quote

from harness.core.errors import HarnessError

_PART = r"[^_/\\\x00-\x1f\x7f]+"
_NAME = re.compile(f"{_PART}_{_PART}_{_PART}")
_LONGEST = 255
"""Letters that a file name can have."""
_SPACE = re.compile(r"[\s%]")


def checked(name: str, where: object) -> str:
    """`name` as it is; HarnessError, which says `where` it was met, when it is no frame name."""
    if not _NAME.fullmatch(name):
        raise HarnessError(
            f"{where}: {name!r} is no frame name; expected <city>_<sequence>_<frame>",
            hint="three parts joined by underscores: rename san_jose_1_2 to san-jose_1_2, 000000_10 to kitti_000000_10",
        )
    return name


def owner(file: str, names: Collection[str]) -> str | None:
    """Return which of `names` a file is of: the longest that it begins with, up to a sign that is no letter or
    digit."""
    for end in range(min(len(file), _LONGEST), 0, -1):
        if (end == len(file) or not file[end].isalnum()) and file[:end] in names:
            return file[:end]
    return None


def without_spaces(name: str) -> str:
    """Return the name as it may stand in a line whose fields are divided by spaces; spaces become %20, as in
    addresses."""
    return _SPACE.sub(lambda found: quote(found[0]), name)
