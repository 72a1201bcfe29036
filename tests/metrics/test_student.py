"""The quantile of Student's t, against scipy and against closed forms."""

import math
import subprocess
import sys

import pytest
import scipy.stats

from harness.metrics.student import student

TAILS = (0.49, 0.25, 0.05, 0.025, 0.00125, 1e-6)


@pytest.mark.parametrize("freedom", [0.5, 1, 1.5, 2, 2.1, 3, 3.7, 4, 10, 16, 30, 499, 999, 1001, 1e5, 1e8, math.inf])
def test_it_is_that_of_scipy(freedom):
    for tail in TAILS:
        assert student(tail, freedom) == pytest.approx(scipy.stats.t.isf(tail, freedom), rel=1e-11), tail


@pytest.mark.parametrize("tail", TAILS)
def test_one_and_two_degrees_of_freedom_are_exact(tail):
    assert student(tail, 1) == 1 / math.tan(math.pi * tail)
    assert student(tail, 2) == pytest.approx((1 - 2 * tail) * math.sqrt(2 / (1 - (1 - 2 * tail) ** 2)), rel=1e-9)


def test_twenty_comparisons_at_few_degrees_of_freedom():
    tail = 0.05 / 20 / 2
    assert (round(student(tail, 1)), round(student(tail, 2), 1)) == (255, 20.0)


def test_half_of_all_values_exceed_zero():
    assert student(0.5, 3) == 0.0


@pytest.mark.parametrize(("tail", "freedom"), [(0.0, 3), (0.6, 3), (0.1, 0)])
def test_what_is_no_quantile_is_an_error(tail, freedom):
    with pytest.raises(ValueError, match="tail"):
        student(tail, freedom)


def test_a_check_imports_no_array_library_for_it():
    code = "import sys, harness.results.check; print([m for m in ('numpy', 'scipy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
