"""Files appear whole or not at all, and leave nothing beside them."""

import os
import subprocess
import sys

import pytest

from harness.core import files
from harness.core.errors import HarnessError

WRITERS = {
    "text": lambda path, text: files.write_text(path, text),
    "bytes": lambda path, text: files.write_bytes(path, text.encode()),
    "replace": lambda path, text: files.replace(path, lambda new: new.write_text(text)),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, write):
    path = tmp_path / "deep" / "a.json"
    write(path, "old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(HarnessError, match=r"a\.json: cannot be written: No space left on device\n.*make room"):
        write(path, "new")
    assert [found.name for found in path.parent.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_in_place_of_the_folder_is_told(tmp_path, write):
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match=r"cannot be written: (Not a directory|File exists)"):
        write(tmp_path / "file" / "a.json", "new")


def test_what_kill_9_leaves_in_a_steps_folder_is_taken_over(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; from harness.core.files import replace\n"
        "replace(Path(sys.argv[1]), lambda new: (new.write_text('half'), os.kill(os.getpid(), 9)))"
    )
    path = tmp_path / "weights"
    assert subprocess.run([sys.executable, "-c", program, str(path)]).returncode == -9
    assert not path.exists() and len(list(tmp_path.iterdir())) == 1
    files.write_bytes(path, b"whole")
    assert [found.name for found in tmp_path.iterdir()] == ["weights"]
