"""What there is to say of a preset beside the optics in use."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_unfold.files.presets import Preset
    from napari_unfold.settings.terms import Fidelity

_LIKE = 1.25
"""PSF widths within this factor are the same to the network."""


def misfit(preset: Preset, fidelity: Fidelity, upsampling: int, psf_sigma_px: float | None) -> str:
    """Return in words where a preset does not match the optics; empty where it does.

    Parameters
    ----------
    preset : Preset
    fidelity : str
    upsampling : int
        Fine pixels per camera pixel.
    psf_sigma_px : float, optional
        In camera pixels, if it is known.
    """
    said = []
    network = preset.networks.get(fidelity)
    if network is not None and psf_sigma_px:
        learned = sigma_of_point(network.reference.point_energy)
        if not 1 / _LIKE < learned / psf_sigma_px < _LIKE:
            said.append(f"a PSF sigma of {learned:.2g} camera pixels, yours is {psf_sigma_px:.2g}")
    if preset.upsampling != upsampling:
        said.append(f"an upsampling of {preset.upsampling}, not {upsampling}")
    if not said:
        return ""
    return (
        f"Mind: learned for {' and '.join(said)}. It is rescaled, but may find fewer molecules; "
        "compare with another preset, or adapt one to your stack in 'Unfold: train'."
    )


def sigma_of_point(point_energy: float) -> float:
    """Return the sigma, in pixels, of the Gaussian PSF whose image of one photon has this energy.

    A Gaussian has ``1 / (4 pi sigma^2)``; the square of a pixel adds 1/12 to its variance.
    """
    return math.sqrt(max(1.0 / (4.0 * math.pi * point_energy) - 1.0 / 12.0, 0.01))
