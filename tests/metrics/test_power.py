"""Power: against the noncentral t distribution, closed forms, and intervals of simulated measurements."""

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from harness.metrics.power import Spread, detectable, half_width, power, together


@pytest.mark.parametrize("freedom", [1, 2, 4, 16, 60, 1000])
@pytest.mark.parametrize("effect", [0.0, 0.5, 2.0, 4.0])
def test_the_power_of_one_source_is_that_of_the_t_test(freedom, effect):
    critical = stats.t.isf(0.025, freedom)
    expected = stats.nct.sf(critical, freedom, effect) + stats.nct.cdf(-critical, freedom, effect)
    assert power(effect * 1.7, [Spread(1.7**2, freedom)]) == pytest.approx(expected, abs=2e-6)


def test_with_a_known_spread_it_is_the_normal_textbook_formula():
    known = [Spread(4.0, math.inf)]
    assert half_width(known) == pytest.approx(2 * stats.norm.isf(0.025))
    # z of 97.5 % and z of 80 %; the far tail adds nothing.
    assert detectable(known) == pytest.approx(2 * (stats.norm.isf(0.025) + stats.norm.isf(0.2)), rel=1e-4)


def test_the_detectable_effect_is_found_with_the_chance_that_was_asked_for():
    spreads = [Spread(0.5, 40.3), Spread(2.0, 6)]
    for chance in (0.5, 0.8, 0.95):
        assert power(detectable(spreads, chance=chance), spreads) == pytest.approx(chance, abs=1e-6)
    assert power(-1.0, spreads) == power(1.0, spreads)
    assert detectable([Spread(0.0, 5)]) == 0.0


def test_degrees_of_freedom_of_a_sum_are_those_of_welch():
    """scipy's Welch test on two samples of known variances has the degrees of freedom of Satterthwaite."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 5), rng.normal(0, 3, 9)
    expected = stats.ttest_ind(a, b, equal_var=False).df
    total = together([Spread(a.var(ddof=1) / 5, 4), Spread(b.var(ddof=1) / 9, 8)])
    assert total.freedom == pytest.approx(expected)
    assert total.variance == pytest.approx(a.var(ddof=1) / 5 + b.var(ddof=1) / 9)


@pytest.mark.parametrize(("images", "seeds"), [((1.0, 100), (1.0, 4)), ((1.0, 30), (0.2, 14)), ((0.3, 60), (2.0, 4))])
def test_power_of_two_sources_is_what_simulated_intervals_find(images, seeds):
    """Draw what each spread is estimated to be and what is measured; count the intervals that leave zero out."""
    rng, trials = np.random.default_rng(1), 40_000
    true = [Spread(*images), Spread(*seeds)]
    effect = detectable(true)
    measured = effect + rng.normal(0, math.sqrt(images[0] + seeds[0]), trials)
    width = sum(
        stats.t.isf(0.025, one.freedom) ** 2 * one.variance * rng.chisquare(one.freedom, trials) / one.freedom
        for one in true
    )
    found = np.mean(np.abs(measured) > np.sqrt(width))
    assert found == pytest.approx(0.8, abs=0.02)


def test_importing_it_imports_no_heavy_library():
    code = "import sys, harness.metrics.power; print([m for m in ('numpy', 'scipy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
