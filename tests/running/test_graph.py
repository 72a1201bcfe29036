"""Which steps can be made: each once its inputs are there, none that needs a failed one, and in time that is linear."""

import sys

from harness.running.graph import Graph


def test_a_step_is_ready_once_its_inputs_are_there():
    graph = Graph({"a": [], "b": ["elsewhere"], "middle": ["a", "b", "a"], "last": ["middle", "a"]})
    assert graph.take() == ["a", "b"] and graph.take() == []
    graph.done("a")
    assert graph.take() == []
    graph.done("b")
    graph.done("b")
    assert graph.take() == ["middle"]
    graph.done("middle")
    assert graph.take() == ["last"]
    graph.done("last")
    assert not graph.open


def test_what_needs_a_failed_step_fails_with_it_and_its_siblings_do_not():
    graph = Graph({"a": [], "b": [], "c": ["a"], "d": ["c", "b"], "e": ["b"]})
    graph.take()
    assert graph.fail("a") == ["c", "d"]
    graph.done("b")
    assert graph.take() == ["e"]
    assert graph.open == {"e"}


def test_work_grows_with_the_steps_and_no_faster():
    """Counted in lines of Python, not in seconds."""

    def lines(count: int) -> int:
        needs = {"root": [], **{f"train {k}": ["root"] for k in range(count)}}
        needs |= {f"evaluate {k}": [f"train {k}"] for k in range(count)}
        counted = 0

        def trace(frame, event, argument):
            nonlocal counted
            counted += event == "line"
            return trace

        sys.settrace(trace)
        graph = Graph(needs)
        while graph.open:
            for key in graph.take():
                graph.done(key)
        sys.settrace(None)
        return counted

    assert lines(2000) < 2.1 * lines(1000)
