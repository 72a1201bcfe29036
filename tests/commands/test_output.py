"""Standard output never changes what happened: files are whole, the exit code tells, nothing ends in a traceback."""

import io
import os
import subprocess
import sys

import pytest

from harness.commands.output import Output

REPORT = [sys.executable, "-m", "harness", "report", "table1", "--store"]


def run(arguments: list[str], stdout: object = subprocess.PIPE, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        arguments, stdout=stdout, stderr=subprocess.PIPE, env=os.environ | variables, timeout=120, check=False
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_output_has_a_code_of_its_own(tmp_path):
    with open("/dev/full", "w") as full:
        done = run([*REPORT, str(tmp_path)], full)
    assert done.returncode == 4
    assert done.stderr == b"error: standard output took no text: No space left on device\n"


def test_an_output_that_nobody_reads_has_the_same_code_and_says_nothing_twice(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        done = run([*REPORT, str(tmp_path)], nobody)
    assert done.returncode == 4 and b"Traceback" not in done.stderr and done.stderr.count(b"\n") == 1


def test_a_closed_output_has_the_same_code(tmp_path):
    done = run(["sh", "-c", 'exec "$@" >&-', "sh", *REPORT, str(tmp_path)])
    assert done.returncode == 4 and b"it is closed" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["list"], []])
def test_help_on_a_full_output_has_the_same_code(arguments):
    with open("/dev/full", "w") as full:
        done = run([sys.executable, "-m", "harness", *arguments], full)
    assert done.returncode == 4 and done.stderr.startswith(b"error: standard output took no text")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("place", ["2>/dev/full", "2>&-"])
def test_messages_that_nobody_takes_stop_no_work(tmp_path, place):
    """A command whose standard error was full ended with 1 at its first message."""
    command = [sys.executable, "-m", "harness", "dataset", "--profile", "smoke", "--output", str(tmp_path / "streets")]
    done = run(["sh", "-c", f'exec "$@" {place}', "sh", *command])
    assert done.returncode == 0 and len(list((tmp_path / "streets").rglob("*_leftImg8bit.png"))) > 8
    done = run(["sh", "-c", f'exec "$@" {place}', "sh", sys.executable, "-m", "harness", "bogus"])
    assert done.returncode == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_old_encoding_loses_no_sign_of_a_number(tmp_path, encoding):
    done = run([*REPORT, str(tmp_path)], PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    assert "64.60" in text and "\\u" not in text and "?" not in text


def test_signs_are_spelt_where_they_are_missing():
    raw = io.BytesIO()
    out = Output(raw, encoding="ascii", errors="harness.plain")
    from harness.commands import output

    output.prepare()
    print("−1.5 ± 0.2 × ↑ é", file=out)
    out.flush()
    assert raw.getvalue() == b"-1.5 +- 0.2 x ^ \\xe9\n"


def test_the_report_of_a_check_is_whole_before_anything_is_printed(tmp_path):
    """`check | head` used to end as if a metric were worse, and wrote no JUnit file."""
    rows = tmp_path / "baseline.json"
    rows.write_text('{"format": 2, "suite": "table1", "profile": "mini", "reason": "r", "tolerance": {}, "rows": []}')
    junit = tmp_path / "junit.xml"
    arguments = ["check", "table1", "--store", str(tmp_path / "store"), "--baseline", str(rows), "--junit", str(junit)]
    whole = run([sys.executable, "-m", "harness", *arguments])
    if whole.returncode == 2:
        pytest.fail(whole.stderr.decode())
    expected = junit.read_bytes()
    junit.unlink()
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        done = run([sys.executable, "-m", "harness", *arguments], nobody)
    assert done.returncode == 4 and junit.read_bytes() == expected
