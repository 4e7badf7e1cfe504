"""Learning the PSF and the parameters on patterns simulated to resemble the stack."""

from __future__ import annotations

from dataclasses import replace

import torch

from napari_unfold.fluctuation.learn_psf import LearnedPSF, image_parameters, learn_psf
from napari_unfold.fluctuation.patterns import PATTERN_SHAPE, estimate_emitters, simulate_patterns
from napari_unfold.fluctuation.semiblind import SemiBlindOperator
from napari_unfold.fluctuation.watch import DISAGREEMENT, Fluctuations
from napari_unfold.imaging.forward import forward_operator
from napari_unfold.imaging.grid import Grid
from napari_unfold.imaging.psf import GaussianPSF
from napari_unfold.jobs import Job, Note
from napari_unfold.learning.losses import make_loss
from napari_unfold.settings.fluctuation import Fluctuation
from napari_unfold.settings.microscope import FWHM_PER_SIGMA
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.training import Training

START_OFF = 1.3
"""Learning starts from a PSF that is wrong by this factor, so that it cannot just stay."""


def learn_on_patterns(
    recipe: Recipe,
    settings: Fluctuation,
    watched: Fluctuations,
    psf: GaussianPSF,
    grid: Grid,
    device: torch.device,
) -> Job[LearnedPSF]:
    """Learn on patterns simulated to resemble the stack, from a wrong PSF."""
    squared, nm = settings.image != "mean", grid.pixel_size_nm
    plain = forward_operator(PATTERN_SHAPE, 1, psf)
    images, seen = watched.images, watched.seen
    emitters = estimate_emitters(images, watched.noise, seen.background, plain.point_energy)
    patterns = yield from simulate_patterns(
        settings.image, emitters, grid, psf.sigma_px * nm, seen.camera.typical, images.n_frames,
        settings.block_frames,
    )  # fmt: skip
    unit = float(patterns.truth[patterns.truth > 0].mean())
    patterns = replace(
        patterns,
        y=(patterns.y / unit).to(device),
        b=patterns.b.to(device),
        truth=(patterns.truth / unit).to(device),
    )
    learning, checking = patterns.split()
    operator = SemiBlindOperator(
        PATTERN_SHAPE, grid.upsampling, START_OFF * psf.sigma_px, device=device, squared=squared
    )
    start = image_parameters(
        operator.frozen(), learning.y, settings.weight, recipe.solver.iterations
    ).model_copy(update={"threshold_photons": 0.3, "projection_width_photons": 1e-3})
    found = yield from learn_psf(
        operator, start, learning, checking, make_loss(Training(loss=settings.loss), 1.0),
        outer_iterations=settings.learning_steps,
    )  # fmt: skip
    fwhm = [FWHM_PER_SIGMA * s * nm for s in (psf.sigma_px, found.sigma_px)]
    yield Note(
        f"Learned on patterns simulated with a PSF of FWHM {fwhm[0]:.0f} nm, from a start "
        f"{100 * (START_OFF - 1):.0f} % too wide: {fwhm[1]:.0f} nm"
    )
    if abs(found.sigma_px / psf.sigma_px - 1.0) > DISAGREEMENT:
        yield Note(
            "What was learned is not the PSF of the simulation: at this noise the patterns do not "
            "tell it. Rely on the PSF of the data, or use more frames"
        )
    return found
