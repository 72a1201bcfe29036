"""The command line as a user meets it: quick answers without torch, one message and exit code 2 for bad input."""

import json
import os
import subprocess
import sys

import pytest

from harness.core.paths import REPOSITORY

HEAVY = ("torch", "diffusers", "transformers", "cv2", "scipy", "skimage", "numba", "matplotlib")


def harness(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k not in ("CITYSCAPES_DATASET", "HARNESS_STORE")} | variables
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments], capture_output=True, text=True, env=environment, timeout=120
    )


@pytest.mark.parametrize(
    "arguments", [["list"], ["plan", "table1"], ["report", "table1"], ["report", "table1", "--format", "csv"]]
)
def test_answers_without_importing_anything_heavy(arguments, tmp_path):
    program = (
        "import sys; from harness.cli import main\n"
        "try: main(sys.argv[1:])\n"
        f"finally: assert not set({HEAVY!r}) & set(sys.modules), sorted(set({HEAVY!r}) & set(sys.modules))"
    )
    store = [] if arguments == ["list"] else ["--store", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, *store], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "tabel1"], ["tabel1.toml", "no such file", "'table1'"]),
        (["plan", "table1", "--data-root", "/"], ["profile 'mini' draws its own streets", "leave --data-root out"]),
        (["cite", "table1", "--data-root", "/"], ["profile 'mini' draws its own streets"]),
        (["plan", "table1", "--profile", "papr"], ["unknown profile 'papr'", "'paper'"]),
        (["plan", "table1", "--profile", "paper"], ["Cityscapes on disk", "--data-root"]),
        (["plan", "table1", "--profile", "paper", "--data-root", "/nowhere"], ["/nowhere: no such folder"]),
        (["run", "table1", "--workers", "0"], ["--workers", "at least 1", "'0'"]),
        (["run", "table1", "--store", "/dev/null/store"], ["/dev/null/store", "can't be written", "--store"]),
        (
            ["synthesize", "--dataset", "/nowhere", "--output", "/tmp/x", "--generator", "focus"],
            ["/nowhere: no such folder"],
        ),
        (["synthesize", "--dataset", "/nowhere", "--output", "/tmp/x", "--generator", "foucs"], ["'foucs'", "'focus'"]),
        (
            ["synthesize", "--dataset", "/", "--output", "/tmp/x", "--generator", "focus", "--seed", "-1"],
            ["--seed", "'-1'"],
        ),
        (["evaluate", "--data-root", "/nowhere", "--instances", "/x"], ["/nowhere"]),
        (["evaluate", "--data-root", "/nowhere"], ["nothing to evaluate"]),
        (["import-images", "/nowhere", "--name", "mine"], ["/nowhere: no such folder"]),
        (["import-images", "/", "--name", "focus"], ["focus.toml", "there is a generator", "--replace"]),
        (["import-images", "/", "--name", "mine", "--profile", "paper"], ["no data root", "--data-root"]),
        (
            ["import-images", "/", "--name", "mine", "--images", "{x}.png", "--labels", "source"],
            ["'images'", "{x}", "known: city"],
        ),
        (["dataset", "--profile", "paper", "--output", "/tmp/x"], ["Cityscapes is found on disk"]),
        (["dataset", "--profile", "smoke", "--output", "/usr"], ["/usr: holds something else"]),
        (["plan", "table1", "--seeds", "0,0"], ["distinct seeds", "[0, 0]"]),
        (["plan", "table1", "--only", ","], ["--only", "names with commas"]),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(arguments, words):
    done = harness(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert all(word in done.stderr for word in words), done.stderr


def test_a_suite_of_the_users_own_with_a_mistake(tmp_path):
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'title = "t"\nquestion = "q"\n[[rows]]\nmethod = "m"\ngenerator = "focus"\nsegmentr = "oneformer"\n'
    )
    done = harness("plan", str(suite))
    assert done.returncode == 2
    assert "mine.toml: unknown key 'rows.0.segmentr'" in done.stderr
    assert "'segmenter'" in done.stderr


def test_nothing_but_the_table_goes_to_standard_output(tmp_path):
    done = harness("report", "table1", "--format", "json", "--store", str(tmp_path))
    assert done.returncode == 0
    assert json.loads(done.stdout)


def test_a_report_goes_where_it_is_asked_to(tmp_path):
    target = tmp_path / "deep" / "table.md"
    assert (
        harness("report", "table1", "--format", "markdown", "--output", str(target), "--store", str(tmp_path)).stdout
        == ""
    )
    assert "CMT-DeepLab" in target.read_text()


def test_a_published_row_and_a_row_that_was_not_run_are_told_apart(tmp_path):
    text = harness("report", "table1", "--store", str(tmp_path)).stdout
    assert "64.60" in text
    assert "not run" in text
    assert "NOT COMPARABLE" in text


def test_makefile_targets_all_exist_and_help_lists_them():
    makefile = REPOSITORY / "Makefile"
    done = subprocess.run(["make", "-f", str(makefile), "help"], capture_output=True, text=True, cwd=makefile.parent)
    for target in ["help", "table1", "table2", "ablation", "controls", "smoke", "check", "bench", "test", "lint"]:
        assert f"\n{target} " in "\n" + done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plann", "table1"], ["unknown command 'plann'", "did you mean 'plan'"]),
        (["plan", "table1", "--profil", "smoke"], ["unknown argument '--profil'", "did you mean '--profile'?"]),
        (["plan", "table1", "-profile", "smoke"], ["unknown argument '-profile'", "did you mean '--profile'?"]),
        (["plan", "table1", "--seeds", "-1"], ["--seeds", "at least 1", "'-1'"]),
        (["plan", "table1", "--seeds", "9" * 20], ["--seeds", "a number from 1 to 1000"]),
        (["plan", "table1", "--seeds", "0," + "9" * 20], ["--seeds", "distinct seeds from 0 to 2^63 - 1"]),
        (["plan", "table1", "twice"], ["unknown argument 'twice'", "harness plan --help"]),
        (["--verison"], ["unknown argument '--verison'", "did you mean '--version'?"]),
        (["store", "verfy"], ["unknown command 'verfy'", "did you mean 'verify'?"]),
        (["store", "--hlep"], ["unknown argument '--hlep'", "did you mean '--help'?"]),
        (["store", "list", "--stoer=x"], ["unknown argument '--stoer=x'", "did you mean '--store'?"]),
        (["store"], ["a command is missing", "verify"]),
        (["evaluate", "--instnces", "x"], ["unknown argument '--instnces'", "did you mean '--instances'?"]),
        (["dataset", "--sede", "3"], ["unknown argument '--sede'", "known: --help, --output, --profile"]),
        (["report", "table1", "--format", "markdwn"], ["--format: unknown value 'markdwn'", "'markdown'"]),
        (["plan", "table1", "--store", "x" * 300], ["File name too long"]),
    ],
)
def test_a_slip_is_one_message_with_what_is_near(arguments, words):
    done = harness(*arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_without_a_command_it_says_what_there_is():
    done = subprocess.run([sys.executable, "-m", "harness"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "usage: harness" in done.stdout and "leaderboard" in done.stdout


def test_text_from_outside_is_text_and_no_markup(tmp_path):
    store = tmp_path / "st[/b]x" / "data[old] :smile:" / "store"
    done = harness("plan", "table1", "--profile", "smoke", "--store", str(store))
    assert done.returncode == 0 and f"store: {store}" in done.stdout.replace("\n", " "), done.stdout[-300:]
