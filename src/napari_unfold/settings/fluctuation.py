"""How a stack of fluctuating emitters is sharpened."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from napari_unfold.settings.section import Section, setting
from napari_unfold.settings.training import LossName

FluctuationImageName = Literal["variance", "lag-1", "mean"]


PSFSource = Literal["data", "learned", "settings"]


FLUCTUATION_ITERATIONS = 100
"""Usual K of fluctuation imaging; more of them sharpen the noise too."""


class Fluctuation(Section):
    """How a stack of fluctuating emitters becomes one super-resolved image."""

    image: FluctuationImageName = setting(
        "variance",
        "Image",
        "What is sharpened: the 'variance' of every pixel over time, its covariance with the next "
        "frame ('lag-1', free of photon noise, for slow blinking), or the 'mean' (wide-field).",
    )
    psf_from: PSFSource = setting(
        "data",
        "PSF from",
        "'data': estimated from what neighbouring pixels of the stack have in common; 'learned': "
        "found by the network on patterns simulated with your settings; 'settings': as entered.",
        flag="--psf",
    )
    weight: float = setting(
        0.003,
        "Weight",
        "Regularisation weight, as a fraction of the one above which the image is empty.",
        ge=1e-6,
        le=0.9,
    )
    block_frames: int = setting(
        100,
        "Time block",
        "Bleaching and slow changes of the intensity are removed in blocks of this many frames.",
        "frames",
        ge=10,
        le=100_000,
    )
    learning_steps: int = setting(
        12,
        "Learning steps",
        "Steps in which PSF, step sizes and weight are learned on simulated patterns; "
        "0 uses values from theory.",
        ge=0,
        le=200,
    )
    loss: LossName = setting(
        "reconstruction",
        "Loss",
        "What is learned: 'reconstruction' (the right brightness, which tells the PSF best), "
        "'localization' (the right pixels, as in the paper), or 'tolerant'.",
    )

    @model_validator(mode="after")
    def _check_learning(self) -> Self:
        if self.psf_from == "learned" and self.learning_steps == 0:
            raise ValueError("a learned PSF needs learning steps; 12 are usually enough")
        return self
