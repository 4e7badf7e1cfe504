"""Estimates of PSF, offset and gain against simulated truth: `make bench-estimates`.

Prints bias and scatter over simulated stacks (random molecules and filaments in turn), the mean of
the stated standard errors, and how often the truth lies beyond three of them.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from napari_unfold.estimation.estimate import Estimate, estimate
from napari_unfold.files.stacks import as_stack
from napari_unfold.imaging.camera import CameraModel
from napari_unfold.jobs import run_to_end
from napari_unfold.settings.microscope import Camera, Optics
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.scenes import simulate
from napari_unfold.simulation.simulated_microscope import EMCCD

CAMERAS = {
    "EMCCD": EMCCD.settings(Camera(type="emccd")),
    "sCMOS": CameraModel(100, 0.5, 1, read_noise_photons=1.5).settings(Camera(type="scmos")),
}
# frames, side in px, molecules per um2, photons, background, PSF sigma in px
SCENES = [
    (100, 64, 0.1, 1500, 20, 1.1),
    (100, 64, 0.5, 700, 50, 1.3),
    (100, 64, 2, 1500, 20, 1.1),
    (100, 64, 6, 3000, 100, 1.1),
    (100, 64, 2, 5000, 50, 0.85),
    (20, 64, 6, 1500, 20, 1.1),
    (4, 64, 2, 1500, 20, 1.1),
    (50, 36, 2, 1500, 20, 1.1),
    (50, 64, 2, 1500, 20, 0.7),
    (50, 64, 2, 1500, 20, 2.5),
]
PIXEL_NM = 100.0


def deviations(camera: Camera, scene: tuple[float, ...], seed: int) -> NDArray[np.float64]:
    """Deviation and standard error, (3, 2): sigma and gain relative to the truth, offset in ADU."""
    frames, size, density, photons, background, sigma = scene
    simulation = simulate(
        "random" if seed % 2 else "filaments",
        frames=int(frames),
        shape=(int(size), int(size)),
        density_per_um2=density,
        molecule_photons=photons,
        background_photons=background,
        recipe=Recipe(optics=Optics(psf_sigma_nm=sigma * PIXEL_NM), camera=camera),
        seed=seed,
    )
    found: Estimate = run_to_end(estimate(as_stack(simulation.stack), camera))
    rows = np.full((3, 2), np.nan)
    if found.psf_sigma_px is not None:
        psf = found.psf_sigma_px * (1 / sigma)
        rows[0] = psf.value - 1, psf.standard_error
    if found.transfer is not None:
        true = CameraModel.of(camera)
        gain = found.transfer.slope * (1 / (true.adu_per_photon * true.excess_noise))
        offset = found.transfer.offset_adu(camera)
        rows[1] = gain.value - 1, gain.standard_error
        rows[2] = offset.value - true.offset_adu, offset.standard_error
    return rows


def main(stacks: int) -> None:
    """Print one row for each camera and scene."""
    print("bias / scatter / mean standard error of sigma (%), gain (%), offset (ADU)")
    everything = []
    for name, camera in CAMERAS.items():
        for scene in SCENES:
            found = np.array([deviations(camera, scene, seed) for seed in range(stacks)])
            everything.append(found)
            bias, scatter = np.nanmean(found[..., 0], 0), np.nanstd(found[..., 0], 0)
            error = np.nanmean(found[..., 1], 0)
            cells = [
                f"{unit * b:+6.2f} {unit * s:5.2f} {unit * e:5.2f}"
                for unit, b, s, e in zip((100, 100, 1), bias, scatter, error, strict=True)
            ]
            frames, size, density, photons, background, sigma = scene
            conditions = (
                f"{name} {frames:4d} frames {size:3d} px {density:4} /um2 {photons:5d} photons "
                f"background {background:4d} sigma {sigma:4} px"
            )
            print(conditions, " | ".join(cells), flush=True)
    found = np.concatenate(everything)
    score = found[..., 0] / found[..., 1]
    told = np.isfinite(score).sum(0)
    beyond = (np.abs(score) > 3).sum(0)
    for title, n, k in zip(("sigma", "gain", "offset"), told, beyond, strict=True):
        print(f"{title}: told in {n} of {len(found)} stacks, truth beyond 3 standard errors in {k}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
