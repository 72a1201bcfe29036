"""A forecast by a clock that the test turns: shares and times are those of a calculation by hand."""

import io
import re
import time
from dataclasses import replace

import pytest
from rich.console import Console
from steps import drawing

from harness.commands import progress_bars
from harness.commands.progress_bars import Bar, RunView
from harness.planning.plan import Step
from harness.running.forecast import Forecast, duration
from harness.running.watch import Event


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def steps(**kinds: int) -> dict[str, Step]:
    """So many steps of each kind, under keys that number them: train 0, train 1, ..."""
    one = drawing(1)
    made = [
        replace(one, kind=kind, key=f"{kind} {i}", label=f"{i}") for kind, count in kinds.items() for i in range(count)
    ]
    return {step.key: step for step in made}


def test_a_step_counts_by_the_minutes_of_its_stage(clock):
    """Two trainings of 9 minutes and two evaluations of 1: when both trainings are made, 90 % are."""
    todo = steps(train=2, evaluate=2)
    forecast = Forecast(todo, {"train": 9.0, "evaluate": 1.0}, clock)
    assert forecast.share() == 0 and forecast.left() is None
    for number in (0, 1):
        forecast.hear(Event(todo[f"train {number}"], "start"))
        clock.now += 300
        forecast.hear(Event(todo[f"train {number}"], "done"))
    assert forecast.share() == pytest.approx(0.9)
    assert forecast.left() == pytest.approx(600 / 9)
    assert forecast.line() == "10:00  2 of 4 steps, 90% of the work, about 1:07 left: nothing runs yet"


def test_the_rest_shrinks_evenly_while_a_step_goes_on(clock):
    todo = steps(train=1, evaluate=26)
    forecast = Forecast(todo, {"train": 10.0, "evaluate": 0.1}, clock)
    forecast.hear(Event(todo["train 0"], "start"))
    whole = 756.0  # seconds of 12.6 minutes, at the planned speed
    for done in range(1, 101):
        clock.now = 6.0 * done
        forecast.hear(Event(todo["train 0"], "progress", done, 100))
        assert forecast.left() == pytest.approx(whole - clock.now)


def test_what_was_there_before_makes_the_run_no_faster(clock):
    """A training is resumed at three quarters and takes 100 s for an eighth: another one takes 800 s, not 114."""
    todo = steps(train=2)
    forecast = Forecast(todo, {"train": 1.0}, clock)
    forecast.hear(Event(todo["train 0"], "start"))
    clock.now = 100.0
    forecast.hear(Event(todo["train 0"], "progress", 700, 800, first=600))
    assert forecast.share() == pytest.approx(7 / 16)
    assert forecast.left() == pytest.approx(100 + 800)
    clock.now = 200.0
    forecast.hear(Event(todo["train 0"], "done"))
    assert forecast.left() == pytest.approx(800)


def test_a_state_that_had_to_be_set_aside_counts_from_nothing(clock):
    """The lease knows 600 of 800, the state was damaged, and the training begins anew."""
    todo = steps(train=1)
    forecast = Forecast(todo, {"train": 1.0}, clock)
    forecast.hear(Event(todo["train 0"], "start"))
    clock.now = 100.0
    forecast.hear(Event(todo["train 0"], "progress", 200, 800, first=600))
    assert forecast.share() == pytest.approx(0.25)


def test_without_estimates_steps_count_as_the_run_made_them(clock):
    todo = steps(train=3, evaluate=1)
    forecast = Forecast(todo, {"train": None, "evaluate": None}, clock)
    forecast.hear(Event(todo["train 0"], "start"))
    clock.now = 60.0
    forecast.hear(Event(todo["train 0"], "done"))
    assert forecast.share() is None and forecast.left() is None, "nothing is known of an evaluation"
    assert forecast.line() == "1:00  1 of 4 steps: nothing runs yet"
    forecast.hear(Event(todo["evaluate 0"], "start"))
    clock.now = 66.0
    forecast.hear(Event(todo["evaluate 0"], "done"))
    assert forecast.share() == pytest.approx(66 / 186) and forecast.left() == pytest.approx(120)


def test_what_failed_and_what_needs_it_is_no_work_any_more(clock):
    todo = steps(train=2, evaluate=2)
    forecast = Forecast(todo, {"train": 1.0, "evaluate": 1.0}, clock)
    for key in ("train 0", "train 1"):
        forecast.hear(Event(todo[key], "start"))
    forecast.hear(Event(todo["train 0"], "failed", note="no", dependants=("evaluate 0",)))
    clock.now = 30.0
    forecast.hear(Event(todo["train 1"], "done"))
    assert forecast.ended == 3 and forecast.share() == pytest.approx(0.5) and forecast.left() == pytest.approx(30)


def test_what_is_set_aside_is_work_again(clock):
    todo = steps(predict=1, evaluate=1)
    forecast, training = (
        Forecast(todo, {"train": 8.0, "predict": 1.0, "evaluate": 1.0}, clock),
        steps(train=1)["train 0"],
    )
    forecast.hear(Event(todo["predict 0"], "start"))
    forecast.hear(Event(todo["predict 0"], "failed", note="weights: missing", dependants=("evaluate 0",)))
    assert (forecast.ended, forecast.total) == (2, 2)
    forecast.hear(Event(training, "set aside", note="weights: missing"))
    assert (forecast.ended, forecast.total) == (0, 3)
    forecast.hear(Event(training, "start"))
    clock.now = 80.0
    forecast.hear(Event(training, "done"))
    assert forecast.share() == pytest.approx(0.8) and forecast.left() == pytest.approx(20)


def test_a_line_names_what_runs(clock):
    todo = steps(train=4)
    forecast = Forecast(todo, {"train": 1.0}, clock)
    for step in todo.values():
        clock.now += 1
        forecast.hear(Event(step, "start"))
    forecast.hear(Event(todo["train 1"], "progress", 3, 60, "loss 1.5"))
    assert forecast.line().endswith("left: train 0; train 1 3 of 60, loss 1.5; 2 more")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (750, "12:30"), (3605, "1:00:05")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_without_a_terminal_lines_come_from_time_to_time(monkeypatch):
    monkeypatch.setattr(progress_bars, "PAUSE", 0.01)
    todo, out = steps(train=2), io.StringIO()
    with RunView(Console(file=out, width=200), Forecast(todo, {"train": 1.0})) as view:
        view(Event(todo["train 0"], "start"))
        view(Event(todo["train 0"], "progress", 30, 60, "loss [1]"))
        wait_for(out, "30 of 60")
        view(Event(todo["train 0"], "done"))
    lines = out.getvalue().splitlines()
    told = next(line for line in lines if "30 of 60" in line)
    parts = (r"\d+:\d\d  0 of 2 steps", r"25% of the work", r"about \d+:\d\d left: train 0 30 of 60", r"loss \[1\]")
    assert re.fullmatch(", ".join(parts), told)
    assert any(line.startswith("done") for line in lines)


def test_a_single_piece_of_work_prints_lines_too(monkeypatch):
    monkeypatch.setattr(progress_bars, "PAUSE", 0.01)
    out = io.StringIO()
    with Bar(Console(file=out, width=200), "evaluate") as report:
        wait_for(out, "evaluate\n")
        report(5, 10, "frame 5")
        wait_for(out, "5 of 10")
    assert re.match(r"\d+:\d\d  evaluate 5 of 10, about \d+:\d\d left, frame 5", out.getvalue().splitlines()[-1])


def test_on_a_terminal_no_line_is_printed_beside_the_bars(monkeypatch):
    monkeypatch.setattr(progress_bars, "PAUSE", 0.01)
    out = io.StringIO()
    with Bar(Console(file=out, width=80, force_terminal=True), "evaluate") as report:
        report(5, 10, "frame 5")
        time.sleep(0.1)
    assert "5 of 10" not in out.getvalue() and "5/10" in out.getvalue()


@pytest.mark.parametrize("width", [60, 80])
def test_numbers_keep_their_place_on_a_narrow_terminal(width):
    """The name of a step gives way, and nothing is broken over two lines."""
    out = io.StringIO()
    todo = steps(train=2)
    todo = {key: replace(step, label="oneformer-convnext on diff_inpainting, seed 1") for key, step in todo.items()}
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    view = RunView(console, Forecast(todo, {"train": 1.0}))
    view(Event(todo["train 0"], "start"))
    view(Event(todo["train 0"], "progress", 120, 3000, "loss 1.234, 12.3 images a second"))
    console.print(view.progress.get_renderable())
    first, second, *rest = out.getvalue().splitlines()
    assert not rest and "0/2" in first and "left" in first and "120/3000" in second and "train oneformer" in second
    assert max(len(first), len(second)) <= width


def wait_for(out: io.StringIO, text: str) -> None:
    end = time.monotonic() + 20
    while text not in out.getvalue():
        assert time.monotonic() < end, out.getvalue()
        time.sleep(0.01)
