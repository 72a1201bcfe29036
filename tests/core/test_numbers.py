"""Numbers as printed."""

import pytest

from harness.core.numbers import number


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (-0.001, True, "0.00"),
        (-0.001, False, "0.00"),
        (1234.5, False, "1,234.50"),
        (2.0, True, "+2.00"),
        (-2.0, False, "−2.00"),
    ],
)
def test_numbers_have_a_real_minus_and_no_negative_zero(value, signed, text):
    assert number(value, 2, signed=signed) == text
