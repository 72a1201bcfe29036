"""The file of a run: found again by a command that goes on, and by no other."""

from harness.core.store import Store
from harness.planning.plan import make_plan
from harness.running.runfile import read_run, write_run
from harness.running.task import Task, task_of


def tasks() -> list[Task]:
    return [task_of(step) for step in make_plan("table1", "smoke").steps().values()]


def make(store: Store, task: Task) -> None:
    store.partial(task.kind, task.key).mkdir(parents=True, exist_ok=True)
    store.commit(task.kind, task.key, {"kind": task.kind, "key": task.key})


def test_a_run_that_goes_on_has_the_file_it_began_with(tmp_path):
    store, every = Store(tmp_path), tasks()
    store.open()
    first = write_run(every, store)
    assert list(read_run(first).values()) == every
    for task in every[:3]:
        make(store, task)
    assert write_run(every[3:], store) == first
    other = [task.model_copy(update={"command": "harness run --workers 2"}) for task in every[3:]]
    assert write_run(other, store) == first  # another command that asks for the same
    assert write_run(every[2:], store) == first  # its third step was made while the command looked
    assert write_run(every[:5], store) != first  # the others are not asked for, and its workers would make them
    for task in every[3:]:
        make(store, task)
    assert write_run(every[-2:], store) == first


def test_a_damaged_file_is_no_earlier_run(tmp_path):
    store, every = Store(tmp_path), tasks()
    store.open()
    first = write_run(every[1:], store)
    first.write_bytes(b"\x1f\x8b")
    assert list(read_run(write_run(every, store)).values()) == every
