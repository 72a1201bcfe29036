"""The launcher of the how-to runs steps as the page says."""

import re
import subprocess

from steps import Steps, drawing, fingerprints

from harness.core.paths import REPOSITORY
from harness.core.store import Store
from harness.running.launcher import PullLauncher
from harness.running.scheduler import run
from harness.running.watch import Event

PAGE = REPOSITORY / "docs" / "how-to" / "launcher.md"


def test_the_launcher_of_the_page_makes_each_step_once(tmp_path):
    fence = re.compile(r'```python title="harness/running/hosts.py"\n(.*?)```', re.DOTALL)
    code = fence.search(PAGE.read_text(encoding="utf-8"))
    assert code
    names: dict = {}
    exec(compile(code[1], str(PAGE), "exec"), names)
    store, undisturbed = Store(tmp_path / "store"), Store(tmp_path / "undisturbed")
    steps = [drawing(3, seed) for seed in range(4)]
    launcher = names["Hosts"](store, [["bash", "-c"], ["bash", "-c"]])
    assert isinstance(launcher, PullLauncher)
    told: list[Event] = []
    outcome = run(Steps(*steps), store, launcher=launcher, tell=told.append)
    assert outcome.failed == {}
    made = [event.step.key for event in told if event.what == "done"]
    assert sorted(made) == sorted(step.key for step in steps)
    run(Steps(*steps), undisturbed, workers=1)
    assert fingerprints(steps, store) == fingerprints(steps, undisturbed)
    assert not launcher.running and not launcher.waiting
    assert str(store.root) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def test_the_command_line_offers_every_launcher():
    from harness.commands.suites import LAUNCHERS
    from harness.running.settings import NAMES

    assert LAUNCHERS == NAMES
