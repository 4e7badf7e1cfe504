"""What is claimed of fluctuation imaging: `make bench-fluctuation`.

First the PSF sigma that is learned on simulated filaments, from starts 30 % too small and 30 % too
large at three noise levels, beside that estimated from the frames alone. Then the simulated
tubulin stack of the shared data: its PSF, and how well mean, variance and lag-1 image, sharpened
with that PSF, agree with the true emitters.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from filaments import SIGMA_PX, part, simulate, start
from scipy import ndimage

from napari_unfold.files.opening import open_stack
from napari_unfold.fluctuation.learn_psf import LearnedPSF, learn_psf
from napari_unfold.fluctuation.sharpen import FluctuationResult, unfold_fluctuations
from napari_unfold.jobs import run_to_end
from napari_unfold.learning.losses import make_loss
from napari_unfold.settings.fluctuation import (
    FLUCTUATION_ITERATIONS,
    Fluctuation,
    FluctuationImageName,
)
from napari_unfold.settings.microscope import FWHM_PER_SIGMA, Camera, Optics
from napari_unfold.settings.recipe import Recipe, Solver
from napari_unfold.settings.training import Training

TUBULIN = Path(__file__).parents[2] / "shared" / "data" / "sofi-tubulin"
NOISES = (0.02, 0.05, 0.1)
STARTS = (0.7, 1.3)
SIDE, ITERATIONS, STEPS = 32, 100, 25
IMAGES: tuple[FluctuationImageName, ...] = ("mean", "variance", "lag-1")
UPSAMPLING = 4


def learned_sigma() -> None:
    """Learn the PSF at three noise levels."""
    print(f"PSF sigma of simulated filaments; true {SIGMA_PX} px, 500 frames")
    print("noise / brightest pixel   from the frames alone           learned from -30 %, +30 %")
    for noise in NOISES:
        patterns = simulate(20, noise, SIDE)
        found = []
        for off in STARTS:
            learning, checking = part(patterns.images, 0, 15), part(patterns.images, 15, 20)
            operator, begin = start(learning, off, ITERATIONS)
            loss = make_loss(Training(loss="reconstruction"), 1.0)
            learned: LearnedPSF = run_to_end(
                learn_psf(operator, begin, learning, checking, loss, outer_iterations=STEPS)
            )
            found.append(100 * (learned.sigma_px / SIGMA_PX - 1))
        alone = [100 * (w.value / SIGMA_PX - 1) for w in patterns.widths if w]
        stated = np.mean([100 * w.standard_error / SIGMA_PX for w in patterns.widths if w])
        print(
            f"{noise:g} / {patterns.brightest:.2f}               {np.mean(alone):+.1f} ± "
            f"{np.std(alone):.1f} % (stated {stated:.1f} %), {len(alone):2d} of 20      "
            + ", ".join(f"{error:+.1f} %" for error in found),
            flush=True,
        )


def tubulin() -> None:
    """Sharpen the stack with a PSF known only from itself."""
    recipe = Recipe(
        optics=Optics(pixel_size_nm=100),
        camera=Camera(
            type="emccd", offset_adu=0, adu_per_photon=4.2, read_noise_photons=0
        ),  # var = 8.4 mean
        solver=Solver(upsampling=UPSAMPLING, iterations=FLUCTUATION_ITERATIONS),
    )
    emitters = np.loadtxt(TUBULIN / "emitters_yx_px.csv", delimiter=",")
    fine = 64 * UPSAMPLING
    histogram, *_ = np.histogram2d(*emitters.T, bins=fine, range=[[0, 64], [0, 64]])
    truth = ndimage.gaussian_filter(histogram, 1.0)

    def correlation(image: np.ndarray) -> float:
        blurred = ndimage.gaussian_filter(image, 1.0)
        return float(np.corrcoef(blurred.ravel(), truth.ravel())[0, 1])

    print("\nsofi-tubulin, 1000 frames, q = 4: correlation with the true emitters")
    print("image      as it is  sharpened  PSF FWHM of this stack (px)      s")
    stack = open_stack(TUBULIN / "tubulin.tif")
    for name in IMAGES:
        began = time.monotonic()
        result: FluctuationResult = run_to_end(
            unfold_fluctuations(stack, recipe, Fluctuation(image=name))
        )
        assert result.data_sigma_nm is not None
        assert result.data_sigma_error_nm is not None
        raw = {"mean": result.mean, "variance": result.variance}.get(name)
        plain = "" if raw is None else f"{correlation(raw.repeat(4, 0).repeat(4, 1)):.3f}"
        fwhm, error = (FWHM_PER_SIGMA * s / 100 for s in
                       (result.data_sigma_nm, result.data_sigma_error_nm))  # fmt: skip
        took = time.monotonic() - began
        print(f"{name:10s} {plain:8s}  {correlation(result.reconstruction):.3f}      "
              f"{fwhm:.3f} ± {error:.3f}                {took:10.1f}")  # fmt: skip
    print("The PSF of the simulation: FWHM 2.23 to 2.29 px, cut off at 5 x 5 pixels.")


if __name__ == "__main__":
    learned_sigma()
    if TUBULIN.is_dir():
        tubulin()
