"""What the engine costs beside the work: commands that answer at once, plans of thousands of cells.

CPU seconds of processes of their own, so that the modules that a test has imported do not count.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GENERATORS = ("focus", "gligen", "diff_inpainting", "blended")
BACKBONES = ("convnext", "swin")


def grid(folder: Path, cells: int) -> Path:
    """A suite of so many cells: one training each, on four syntheses."""
    count = cells // (len(GENERATORS) * len(BACKBONES))
    mixes = ", ".join(f'{{ kind = "probability", probability = {k / (count + 1):.9f} }}' for k in range(1, count + 1))
    suite = folder / "grid.toml"
    suite.write_text(
        'title = "grid"\nquestion = "q"\n[[rows]]\nmethod = "m"\nsegmenter = "oneformer"\n'
        f"generator = {json.dumps(GENERATORS)}\nbackbone = {json.dumps(BACKBONES)}\nmix = [{mixes}]\n"
    )
    return suite


def cost(*arguments: object) -> tuple[float, float]:
    """CPU seconds and largest memory in MiB of a command of the harness, the better of two runs."""
    program = (
        "import resource, sys; from harness.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally:\n"
        "    used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "    print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, file=sys.stderr)"
    )
    found = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        found.append(tuple(map(float, done.stderr.splitlines()[-1].split())))
    return min(found)


@pytest.mark.parametrize("arguments", [["list"], ["plan", "table1"], ["report", "table1"]], ids=" ".join)
def test_answers_within_a_second(benchmark, bar, tmp_path, arguments):
    store = [] if arguments == ["list"] else ["--store", tmp_path]
    seconds, _ = benchmark.pedantic(cost, args=(*arguments, *store), rounds=1)
    bar("CPU seconds", seconds, most=1.0)


def test_a_plan_of_thousands_of_cells(benchmark, bar, tmp_path):
    cells = 10_000 if benchmark.enabled else 80
    suite = grid(tmp_path, cells)
    seconds, memory = benchmark.pedantic(cost, args=("plan", suite, "--store", tmp_path / "store"), rounds=1)
    bar("CPU seconds", seconds, most=5.0)
    bar("MiB", memory, most=200)
