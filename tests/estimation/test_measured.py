"""A measured value and its standard error."""

import numpy as np
import pytest

from napari_unfold.estimation.measured import Measured, jackknife_error


def test_jackknife_of_a_mean_is_the_standard_error_of_the_mean():
    values = np.random.default_rng(0).normal(size=50)
    left_out = (values.sum() - values) / 49
    many = 1e9  # differences in a block: what blocks share does not matter
    assert jackknife_error(left_out, many) == pytest.approx(values.std(ddof=1) / np.sqrt(50))


def test_measured_values_are_written_to_the_second_digit_of_their_error():
    assert str(Measured(258.1234, 0.903)) == "258.12 ± 0.90"
    assert str(Measured(1234.5, 21.3)) == "1234 ± 21"
    assert Measured(0.123456, 0.0042).rounded() == 0.1235
