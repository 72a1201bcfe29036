"""One changed bit anywhere in a finished store: verify finds it, what reads it refuses it, and nothing raises."""

import contextlib
import io
import random
from pathlib import Path

import pytest

from harness.cli import main
from harness.core import upkeep
from harness.core.store import Store

ROW = ("table1", "--profile", "smoke", "--only", "focus/oneformer/convnext", "--seeds", "1")
FLIPS = 200


def said(*arguments: str) -> tuple[int, str]:
    """Exit code and output; any other exception than the end of the command is the test's failure."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code, output.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("flipped") / "store"
    assert said("run", *ROW, "--store", str(root))[0] == 0
    assert said("report", *ROW, "--store", str(root))[0] == 0
    return root


@pytest.mark.slow
def test_a_run_makes_an_evaluation_again_that_is_not_as_it_was_made(finished):
    table = said("report", *ROW, "--store", str(finished), "--format", "csv")
    for name in ("scores.json", "statistics.npz", "contents.json", "manifest.json"):
        (path,) = finished.glob(f"artifacts/evaluate/*/{name}")
        path.write_bytes(path.read_bytes()[:-2] + b"xx")
        code, output = said("run", *ROW, "--store", str(finished))
        assert code == 0 and "set aside" in output, output
        assert said("report", *ROW, "--store", str(finished), "--format", "csv") == table


@pytest.mark.slow
def test_a_flipped_bit_is_found_by_verify_and_refused_by_what_reads_it(finished):
    store, chance = Store(finished), random.Random(0)
    files = sorted(path for path in finished.rglob("*") if path.is_file() and path.stat().st_size)
    for number in range(FLIPS):
        path = chance.choice(files)
        kept = path.read_bytes()
        place = chance.randrange(len(kept))
        changed = bytearray(kept)
        changed[place] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        area, *rest = path.relative_to(finished).parts
        told = f"bit of byte {place} of {path}"
        if area == "artifacts":
            assert upkeep.check(store, *rest[:2]), told
        if area != "artifacts" or rest[0] == "evaluate" or number % 10 == 0:
            codes = {name: said(name, *ROW, "--store", str(finished))[0] for name in ("report", "plan", "status")}
            assert set(codes.values()) <= {0, 2}, (told, codes)
            assert codes["report"] == (2 if area == "artifacts" and rest[0] == "evaluate" else codes["report"]), told
        path.write_bytes(kept)
