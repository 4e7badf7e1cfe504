"""The width of the PSF: the model that its spectrum is fitted with."""

import numpy as np
import pytest
from scipy import integrate, stats

from napari_unfold.estimation.psf_width import gaussian_autocorrelation


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.4, 1.1, 3.0])
@pytest.mark.parametrize("lag", [0.0, 1.0, 2.7])
def test_autocorrelation_of_a_pixel_integrated_gaussian(sigma, lag):
    def light(x):
        return stats.norm.cdf((x + 0.5) / sigma) - stats.norm.cdf((x - 0.5) / sigma)

    expected, _ = integrate.quad(lambda x: light(x) * light(x - lag), -30, 30, limit=200)
    assert gaussian_autocorrelation(np.array(lag), sigma) == pytest.approx(expected, abs=1e-8)
