"""What the engine costs at scale, in CPU seconds: steps that do nothing, and a store of many artifacts."""

import json
import subprocess
import sys
from pathlib import Path

from test_engine_speed import cost

from harness.core import contents
from harness.core.store import Store

STEPS = """
import importlib, os, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from steps import Steps, drawing
from harness.core.progress import silent
from harness.core.store import Store
from harness.running.scheduler import run
from harness.stages import STAGES

count, root = int(sys.argv[1]), Path(sys.argv[2])
steps = [drawing(1, seed) for seed in range(count)]
spent = lambda: sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
for name in STAGES["dataset"].imports:
    importlib.import_module(name)
before = spent()
for number in range(20):
    if not (child := os.fork()):
        STAGES["dataset"].code.run(steps[0].spec, {}, root / f"alone-{number}", silent)
        os._exit(0)
    os.waitpid(child, 0)
alone = (spent() - before) / 20
before = spent()
assert len(run(Steps(*steps), Store(root / "store"), workers=2).made) == count
print((spent() - before) / count - alone)
"""


def per_step(count: int, folder: Path) -> float:
    """CPU seconds of a step beside what its stage takes in a new process: runner, nursery, worker."""
    steps = Path(__file__).parents[1] / "running"
    command = [sys.executable, "-c", STEPS, str(count), str(folder), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_a_step_costs_the_same_in_a_run_of_twice_as_many(benchmark, bar, tmp_path):
    count = 1000 if benchmark.enabled else 4
    one = per_step(count, tmp_path / "one")
    two = benchmark.pedantic(per_step, args=(2 * count, tmp_path / "two"), rounds=1)
    bar("CPU seconds a step", two, most=0.020)
    bar("of twice as many to one", two / one, most=1.1)


def test_many_artifacts_are_listed(benchmark, bar, tmp_path):
    count = 100_000 if benchmark.enabled else 20
    store = Store(tmp_path)
    for number in range(count):
        key = f"{number:020x}"
        folder = store.path("evaluate", key)
        folder.mkdir(parents=True)
        manifest = {"kind": "evaluate", "key": key, "label": "l", "contents": {"files": 1, "bytes": number}}
        (folder / "manifest.json").write_text(json.dumps(contents.vouched_for(manifest)))
    seconds, _ = benchmark.pedantic(cost, args=("store", "list", "--store", tmp_path), rounds=1)
    bar("CPU seconds", seconds, most=3.0)
