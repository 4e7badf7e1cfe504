"""How uncertain positions and photons are.

The covariance of a joint fit is the inverse of its Fisher information (Cramer-Rao bound), that of
the brightness prior included. For every molecule the information of all molecules around it is
inverted, so that its uncertainty contains what it shares with them. Molecules at the same place
would leave no information on their distance at all; that they lie within one spot is one, of
standard deviation sigma.

No fit can know that a spot taken for one molecule is two that lie too near each other to be told
apart. What the brightness of molecules and their density say of it is known, though: with a share
``f`` of molecules as bright as ``q`` photons, the odds that such a spot is a pair within a distance
``r`` are ``(pairs expected within r) x (f * f)(q) / f(q)``, and the nearer molecule of a pair then
lies ``r^2 / 16`` (mean square of a coordinate) beside their middle:

    variance of a coordinate =
        Cramer-Rao bound x (1 + MISTAKES c) + probability of a pair x r^2 / 16

Where all molecules are equally bright a pair is seen by its light. What then remains are mistakes
among the neighbours, which grow with the crowding c, the molecules expected per ``4 pi sigma^2``.
"""

from __future__ import annotations

import numpy as np
import torch

from napari_unfold.localization.brightness import Brightness, convolved
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.patches import neighbourhoods
from napari_unfold.localization.profiles import REACH_SIGMA
from napari_unfold.localization.spots import Molecules

NEIGHBOURS = 12
"""Neighbours whose information is inverted together with a molecule's own, the nearest ones."""

PAIR_SIGMA, MISTAKES = 1.0, 0.2
"""Molecules nearer than the first, in units of sigma, may hide in one spot.

Both numbers were found on simulations: independent and blinking molecules of equal, log-normal and
exponential brightness, 600 to 2500 photons, 0.1 to 8 per square micrometre.
"""

BRIGHTNESSES = 2048
"""Of the table from which the odds of a pair are read."""


def uncertainties(molecules: Molecules, frames: Frames, crowding: torch.Tensor) -> torch.Tensor:
    """Return the standard deviations ``(N, 3)`` of y, x (pixels) and photons.

    Parameters
    ----------
    molecules : Molecules
        As fitted.
    frames : Frames
    crowding : tensor (N,)
        Molecules expected per ``4 pi sigma^2`` and frame, at every molecule.
    """
    light = frames.light(molecules)
    everyone = torch.arange(len(molecules), device=light.device)
    variance = torch.zeros_like(molecules.table)
    reach = REACH_SIGMA * frames.sigma_px
    for hood in neighbourhoods(frames, molecules, everyone, light, reach, NEIGHBOURS):
        _, information = hood.patches.gradient_and_information(hood.spots)
        diagonal = information.diagonal(dim1=1, dim2=2)
        diagonal[:, 0::3] += frames.sigma_px**-2
        diagonal[:, 1::3] += frames.sigma_px**-2
        covariance = torch.linalg.inv_ex(information)[0]
        own = covariance.diagonal(dim1=1, dim2=2)[:, :3]
        variance[hood.which] = own.clamp(min=0.0).to(variance)
    variance[:, :2] *= 1.0 + MISTAKES * crowding[:, None]
    variance[:, :2] += hidden_variance(molecules, frames, crowding)[:, None]
    return variance.sqrt()


def hidden_variance(molecules: Molecules, frames: Frames, crowding: torch.Tensor) -> torch.Tensor:
    """Return the variance ``(N,)`` of a coordinate, in pixels squared, by what a spot may hide."""
    odds = pair_odds(molecules.photons, frames.prior) * pairs_expected(crowding)
    return (PAIR_SIGMA * frames.sigma_px / 4.0) ** 2 * odds / (1.0 + odds)


def pairs_expected(crowding: torch.Tensor) -> torch.Tensor:
    """Return the pairs that may hide per molecule, from the molecules per ``4 pi sigma^2``."""
    return crowding * PAIR_SIGMA**2 / 8.0


def pair_odds(photons: torch.Tensor, prior: Brightness) -> torch.Tensor:
    """Return how much likelier two molecules have so many photons together than one has: (N,).

    ``(f * f)(q) / f(q)`` with the distribution ``f`` of the photons of a molecule; one where
    nothing is known of it.
    """
    if len(photons) == 0:
        return photons
    brightest = float(photons.max())
    at = torch.linspace(0.0, brightest, BRIGHTNESSES, dtype=torch.float64)
    one = torch.exp(-prior.penalty(at)).numpy()
    if np.ptp(one) == 0.0:
        return torch.ones_like(photons)
    everywhere = torch.logspace(-4, 3, BRIGHTNESSES, dtype=torch.float64) * brightest
    total = np.trapezoid(torch.exp(-prior.penalty(everywhere)).numpy(), everywhere.numpy())
    two = convolved(one, one)[:BRIGHTNESSES].clip(min=0.0) * float(at[1]) / total
    odds = np.interp(photons.cpu().double(), at, two / np.maximum(one, np.finfo(float).tiny))
    return torch.as_tensor(odds).to(photons)
