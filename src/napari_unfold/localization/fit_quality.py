"""What is left of the frames once all molecules are fitted: noise, or something else as well."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from scipy.spatial import cKDTree

from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.profiles import GaussianSpot
from napari_unfold.localization.spots import Molecules

LONE_SIGMA = 4.0
"""A spot without another within this distance, in units of sigma, shows its width."""

STEP = 0.02
"""Relative change of the width by which its derivative is taken."""

USELESS = 1e-3
"""Pixels with less than this share of the usual information are not looked at."""

CROWDED = 1.0
"""Molecules per area of a PSF and frame, beyond which two are hardly told apart."""


@dataclass(frozen=True)
class FitQuality:
    """Sums over frames; those of several batches add up.

    Attributes
    ----------
    lit_misfit, lit_pixels, dark_misfit, dark_pixels : float
        Squared residuals in units of the noise, and degrees of freedom, where molecules give more
        light than the noise and elsewhere.
    width_score, width_information, lone : float
        Of the relative change of the PSF width that lone spots ask for, and their number.
    crowded, molecules : float
        Molecules where the density is at its limit, and all.
    """

    lit_misfit: float = 0.0
    lit_pixels: float = 0.0
    dark_misfit: float = 0.0
    dark_pixels: float = 0.0
    width_score: float = 0.0
    width_information: float = 0.0
    lone: float = 0.0
    crowded: float = 0.0
    molecules: float = 0.0

    def __add__(self, other: FitQuality) -> FitQuality:
        names = [f.name for f in fields(self)]
        return FitQuality(**{n: getattr(self, n) + getattr(other, n) for n in names})

    @property
    def lit_noise(self) -> float:
        """Variance of what is left under molecules, in units of the camera's noise."""
        return self.lit_misfit / self.lit_pixels if self.lit_pixels > 0 else math.nan

    @property
    def dark_noise(self) -> float:
        """The same where there are no molecules."""
        return self.dark_misfit / self.dark_pixels if self.dark_pixels > 0 else math.nan

    @property
    def width_change(self) -> float:
        """Relative change of the width that lone spots ask for."""
        if self.width_information <= 0:
            return math.nan
        return self.width_score / self.width_information

    @property
    def width_error(self) -> float:
        """Its standard error, from the noise."""
        information = self.width_information
        return information**-0.5 if information > 0 else math.inf

    @property
    def crowded_share(self) -> float:
        """Share of the molecules where two are hardly told apart."""
        return self.crowded / self.molecules if self.molecules else 0.0


def fit_quality(found: Molecules, frames: Frames, crowding: torch.Tensor) -> FitQuality:
    """Look at the residuals of fitted frames.

    Parameters
    ----------
    found : Molecules
        All that were fitted, faint ones included.
    frames : Frames
    crowding : tensor (N,)
        Molecules expected per ``4 pi sigma^2`` and frame, at every molecule.
    """
    light = frames.light(found)
    residual, weight = frames.likelihood.residual_and_weight(light)
    misfit = residual.square() / weight
    useful = weight > USELESS * weight.median()
    lit = useful & (light * weight.sqrt() > 1.0)
    dark = useful & ~lit
    n_lit, n_dark = float(lit.sum()), float(dark.sum())
    bright = float((found.photons > 0).sum()) if n_lit else 0.0
    quality = FitQuality(
        lit_misfit=float(misfit[lit].sum()),
        lit_pixels=max(n_lit - 3.0 * bright, 0.0),
        dark_misfit=float(misfit[dark].sum()),
        dark_pixels=n_dark,
        crowded=float((crowding > CROWDED).sum()),
        molecules=float(len(found)),
    )
    lone = _lone(found, frames)
    return replace(quality, **_width(found.select(lone), frames, residual, weight))


def _lone(found: Molecules, frames: Frames) -> torch.Tensor:
    """Mask ``(N,)`` of spots that stand alone, and not at the border."""
    if len(found) < 2:
        return torch.zeros(len(found), dtype=torch.bool, device=found.frame.device)
    near = LONE_SIGMA * frames.sigma_px
    points = found.points(near)
    distance = torch.as_tensor(cKDTree(points).query(points, 2)[0][:, 1])
    size = found.position.new_tensor(frames.y.shape[1:])
    inner = ((found.position > near) & (found.position < size - near)).all(1)
    return inner & (distance.to(found.position.device) > near)


def _width(
    lone: Molecules, frames: Frames, residual: torch.Tensor, weight: torch.Tensor
) -> dict[str, float]:
    """Return score and information of a common relative change of the width.

    One step of the fit of width, photons and background of each spot: what photons and background
    could explain as well is taken off. Centre and width do not interfere, by symmetry. A PSF that
    was measured on the stack itself is not judged by it.
    """
    spot = frames.spot
    if len(lone) == 0 or not isinstance(spot, GaussianSpot):
        return {}
    spots = []
    for change in (1.0 - STEP, 1.0 + STEP, 1.0):
        model = replace(frames, spot=GaussianSpot(change * spot.sigma_px)).spot_model(lone)
        spots.append((model, model.jacobian(lone)[:, 2]))
    model, shape = spots[2]
    # patches of a slightly wider spot may be larger: all are laid on those of the right one
    sizes = [s.shape[-1] for _, s in spots]
    smallest = min(sizes)
    narrow, wide, shape = (
        s[:, (n - smallest) // 2 :, (n - smallest) // 2 :][:, :smallest, :smallest]
        for (_, s), n in zip(spots, sizes, strict=True)
    )
    cut = (sizes[2] - smallest) // 2
    inside = slice(cut, cut + smallest)
    w = model.cut_out(weight)[:, inside, inside].double()
    r = model.cut_out(residual)[:, inside, inside].double()
    slope = lone.photons[:, None, None] * (wide - narrow) / (2.0 * STEP)
    columns = torch.stack([slope, shape, torch.ones_like(shape)], 1).double()
    information = torch.einsum("nipq,npq,njpq->nij", columns, w, columns)
    score = torch.einsum("nipq,npq->ni", columns, r)
    tiny = 1e-9 * information.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    covariance = torch.linalg.inv_ex(information + tiny * torch.eye(3, device=w.device))[0]
    change = (covariance @ score[..., None])[:, 0, 0]
    own = 1.0 / covariance[:, 0, 0].clamp(min=1e-30)
    usable = torch.isfinite(change) & torch.isfinite(own)
    change, own = change[usable], own[usable]
    return {
        "width_score": float((own * change).sum()),
        "width_information": float(own.sum()),
        "lone": float(usable.sum()),
    }
