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


def test_a_text_goes_through_a_link_and_the_link_stays(tmp_path):
    target, link = tmp_path / "real.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    files.write_text(link, "new")
    assert link.is_symlink() and target.read_text() == "new"


def test_a_text_keeps_the_mode_of_the_file_and_a_new_one_follows_the_mask(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    path.chmod(0o640)
    files.write_text(path, "new")
    assert path.stat().st_mode & 0o777 == 0o640
    mask = os.umask(0o027)
    try:
        files.write_text(tmp_path / "b.json", "new")
    finally:
        os.umask(mask)
    assert (tmp_path / "b.json").stat().st_mode & 0o777 == 0o640


def test_what_is_no_file_is_written_into_and_never_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen([sys.executable, "-c", "import sys; print(open(sys.argv[1]).read())", str(pipe)],
                              stdout=subprocess.PIPE, text=True)  # fmt: skip
    files.write_text(pipe, "text")
    assert reader.communicate(timeout=30)[0] == "text\n"
    assert pipe.is_fifo() and [found.name for found in tmp_path.iterdir()] == ["pipe"]
    with pytest.raises(HarnessError, match="cannot be written: Is a directory"):
        files.write_text(tmp_path, "text")


def test_a_planted_link_under_the_temporary_name_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".a.bin.part").symlink_to(victim)
    files.write_bytes(tmp_path / "a.bin", b"new")
    assert victim.read_text() == "precious" and (tmp_path / "a.bin").read_bytes() == b"new"
