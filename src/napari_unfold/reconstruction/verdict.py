"""Whether the result can be trusted, in plain words with the figures behind them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from napari_unfold.localization.fit_quality import FitQuality

NOISE_RANGE = (0.75, 1.3)
"""Of what is left under molecules, in units of the camera's noise."""

DARK_RANGE = (0.8, 1.25)
"""The same without molecules."""

WIDTH_CHANGE = 0.05
"""Relative error of the PSF width that costs molecules. Where it was right on simulations, spots
seemed up to 3 % wider, since two that are not told apart are."""

SIGNIFICANT = 4.0

FEWEST_MOLECULES, FEWEST_LONE = 50, 100

CROWDED_SHARE = 0.5

LEFT_OUT_SHARE = 0.2


@dataclass(frozen=True)
class Verdict:
    """What the residuals say of a result.

    Attributes
    ----------
    summary : str
        One sentence.
    doubts, cautions : tuple of str
        Why it should not be trusted, and what limits it in any case.
    lit_noise, dark_noise : float
        Variance of the residuals in units of the camera's noise, under molecules and elsewhere.
    width_change, width_error : float
        Relative change of the PSF width that lone spots ask for.
    crowded_share : float
        Molecules where two are hardly told apart.
    molecules, frames, frames_left_out : int
    """

    summary: str
    doubts: tuple[str, ...]
    cautions: tuple[str, ...]
    lit_noise: float
    dark_noise: float
    width_change: float
    width_error: float
    crowded_share: float
    molecules: int
    frames: int
    frames_left_out: int

    def record(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        values = asdict(self)
        return {
            name: (round(v, 4) if math.isfinite(v) else None) if isinstance(v, float) else v
            for name, v in values.items()
        }


def verdict(
    quality: FitQuality,
    frames: int,
    left_out: int,
    gaussian_psf: bool = True,
    brightness_is_known: bool = False,
) -> Verdict:
    """Judge a result by the residuals of its fits.

    Parameters
    ----------
    quality : FitQuality
        Of all frames.
    frames, left_out : int
        That were used, and that were not.
    gaussian_psf : bool
        Whether the width was stated as that of a Gaussian.
    brightness_is_known : bool
        From elsewhere than these molecules.
    """
    doubts, cautions = [], []
    doubtful = "photons and faint molecules"
    low, high = NOISE_RANGE
    if quality.lit_pixels > 1000 and not low < quality.lit_noise < high:
        doubts.append(
            f"under the molecules the residuals have {quality.lit_noise:.2f} times the noise of "
            "the camera (check gain, camera type and PSF)"
        )
    low, high = DARK_RANGE
    if quality.dark_pixels > 1000 and not low < quality.dark_noise < high:
        doubts.append(
            f"where there is no molecule the frames scatter by {quality.dark_noise:.2f} times the "
            "noise of the camera (check offset, gain and camera type)"
        )
    change, error = quality.width_change, quality.width_error
    wrong = abs(change) > max(WIDTH_CHANGE, SIGNIFICANT * error)
    if gaussian_psf and quality.lone >= FEWEST_LONE and wrong:
        wider = "wider" if change > 0 else "narrower"
        doubtful = "the molecules"
        doubts.append(f"lone spots are {100 * abs(change):.0f} % {wider} than the PSF stated")
    if quality.crowded_share > CROWDED_SHARE:
        cautions.append(
            f"{100 * quality.crowded_share:.0f} % of the molecules stand so dense that two are "
            "hardly told apart"
        )
    if 0 < quality.molecules < FEWEST_MOLECULES and not brightness_is_known:
        cautions.append(
            f"only {quality.molecules:.0f} molecules were found: too few to know their brightness"
        )
    if left_out > LEFT_OUT_SHARE * (frames + left_out):
        cautions.append(f"{left_out} of {frames + left_out} frames were left out")
    if not quality.molecules:
        summary = "No molecules were found"
    elif doubts:
        summary = f"Do not trust {doubtful}: {'; '.join(doubts)}"
    else:
        summary = "The model explains the frames" + _figures(quality)
    if cautions:
        summary += f". Mind that {'; '.join(cautions)}"
    return Verdict(
        summary,
        tuple(doubts),
        tuple(cautions),
        quality.lit_noise,
        quality.dark_noise,
        change,
        error,
        quality.crowded_share,
        int(quality.molecules),
        frames,
        left_out,
    )


def _figures(quality: FitQuality) -> str:
    figures = []
    if math.isfinite(quality.lit_noise):
        figures.append(f"residuals {quality.lit_noise:.2f} times the noise of the camera")
    if quality.lone >= FEWEST_LONE:
        figures.append(
            f"spots {1 + quality.width_change:.3f} ± {quality.width_error:.3f} times as wide as "
            "the PSF"
        )
    return f" ({', '.join(figures)})" if figures else ""
