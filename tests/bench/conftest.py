"""Bars of the benches. A ratio is asserted by `make bench` alone: beside other work it says nothing.

In the fast suite a bench runs once, so that it cannot rot, and shows that what it times gives the right result.
"""

import pytest


@pytest.fixture
def bar(benchmark):
    """`bar(name, ratio, least=...)`: store the ratio, and hold it to its bar where speed is being measured."""

    def hold(name: str, ratio: float, *, least: float | None = None, most: float | None = None) -> None:
        benchmark.extra_info[name] = round(ratio, 4)
        if benchmark.enabled:
            assert least is None or ratio >= least, f"{name}: {ratio:.3g}, wanted at least {least}"
            assert most is None or ratio <= most, f"{name}: {ratio:.3g}, wanted at most {most}"

    return hold
