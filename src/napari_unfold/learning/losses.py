"""Losses of the upper level: what learned parameters are to be good at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional

from napari_unfold.settings.training import Training


def huber(t: torch.Tensor, delta: float) -> torch.Tensor:
    """``t^2 / (2 delta)`` up to ``|t| = delta``, ``|t| - delta / 2`` beyond: equation (15)."""
    size = t.abs()
    return torch.where(size <= delta, t * t / (2.0 * delta), size - delta / 2.0)


def binarize(
    x: torch.Tensor, threshold: torch.Tensor | float, softness: float, top: float = 1.0
) -> torch.Tensor:
    """Smooth binarization, equation (16): 0 below the threshold, `top` above, half of it there.

    Between ``threshold (1 -+ softness)`` it is the cubic ``3 s^2 - 2 s^3``, so that it is
    differentiable in the threshold too: equation (17) with equation (18).

    Parameters
    ----------
    x : tensor
        Photons per fine pixel.
    threshold : tensor or float
        Photons (the paper's sigma).
    softness : float
        Half width of the transition relative to the threshold (the paper's rho), 0 to 1; small
        is steep.
    top : float
        Value of a full pixel (the paper's M).
    """
    s = ((x / threshold - 1.0) / (2.0 * softness) + 0.5).clamp(0.0, 1.0)
    return top * s * s * (3.0 - 2.0 * s)


class Loss(Protocol):
    """Compares reconstructions with the truth; smaller is better."""

    def __call__(
        self, x: torch.Tensor, truth: torch.Tensor, threshold: torch.Tensor
    ) -> torch.Tensor:
        """Mean loss of images ``(R, qY, qX)``, a scalar tensor."""
        ...


@dataclass(frozen=True)
class ReconstructionLoss:
    """``1 / (2 R) sum ||x - x*||^2``, photons in units of `unit_photons`: equation (13)."""

    unit_photons: float = 1.0

    def __call__(
        self, x: torch.Tensor, truth: torch.Tensor, threshold: torch.Tensor
    ) -> torch.Tensor:
        """Mean loss of images ``(R, qY, qX)``; the threshold does not matter."""
        del threshold
        return 0.5 * ((x - truth) / self.unit_photons).square().sum(dim=(-2, -1)).mean()


@dataclass(frozen=True)
class LocalizationLoss:
    """``1 / R sum h_delta(B(x) - B(x*))`` pixel by pixel: equation (14).

    Every pixel with light in it is full in ``B(x*)``.
    """

    softness: float = 0.5
    delta: float = 0.1
    top: float = 1.0

    def __call__(
        self, x: torch.Tensor, truth: torch.Tensor, threshold: torch.Tensor
    ) -> torch.Tensor:
        """Mean loss of images ``(R, qY, qX)``."""
        found = binarize(x, threshold, self.softness, self.top)
        wanted = self.top * (truth > 0).to(x.dtype)
        return huber(found - wanted, self.delta).sum(dim=(-2, -1)).mean()


@dataclass(frozen=True)
class TolerantLoss:
    """One minus a soft Jaccard index of blurred binarizations. Not the paper's.

    ``1 - sum min / sum max`` of both binarized images after a blur of about one fine pixel: a
    molecule found one pixel beside the truth is nearly right, while `LocalizationLoss` counts it
    as wrong twice.
    """

    softness: float = 0.5
    blur_px: float = 1.0

    def __call__(
        self, x: torch.Tensor, truth: torch.Tensor, threshold: torch.Tensor
    ) -> torch.Tensor:
        """Mean loss of images ``(R, qY, qX)``, from 0 to 1."""
        found = self._blurred(binarize(x, threshold, self.softness))
        wanted = self._blurred((truth > 0).to(x.dtype))
        common = torch.minimum(found, wanted).sum(dim=(-2, -1))
        either = torch.maximum(found, wanted).sum(dim=(-2, -1)).clamp(min=1e-12)
        return (1.0 - common / either).mean()

    def _blurred(self, images: torch.Tensor) -> torch.Tensor:
        """Return images ``(R, qY, qX)``, blurred by a Gaussian."""
        half = max(1, round(3.0 * self.blur_px))
        offsets = torch.arange(-half, half + 1, dtype=images.dtype, device=images.device)
        kernel = torch.exp(-0.5 * (offsets / self.blur_px) ** 2)
        kernel = kernel / kernel.sum()
        stack = images[:, None]
        stack = functional.conv2d(stack, kernel.view(1, 1, -1, 1), padding=(half, 0))
        return functional.conv2d(stack, kernel.view(1, 1, 1, -1), padding=(0, half))[:, 0]


@dataclass(frozen=True)
class ImageLoss(TolerantLoss):
    """The mean of the tolerant loss and of what an image lacks in likeness. Not the paper's.

    That is one minus the correlation of the image with the truth blurred by `blur_px`. The tolerant
    loss alone knows of light only whether it is above the threshold, and a network that is good at
    finding molecules may spread it as it likes.
    """

    def __call__(
        self, x: torch.Tensor, truth: torch.Tensor, threshold: torch.Tensor
    ) -> torch.Tensor:
        """Mean loss of images ``(R, qY, qX)``, from 0 to 1.5."""
        unlike = 1.0 - correlation(x, self._blurred(truth)).mean()
        return 0.5 * (super().__call__(x, truth, threshold) + unlike)


def correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return Pearson's correlation ``(R,)`` of images ``(R, qY, qX)``; 0 for one without contrast.

    Parameters
    ----------
    a, b : tensor (R, qY, qX)
    """
    a, b = (image - image.mean(dim=(-2, -1), keepdim=True) for image in (a, b))
    square = a.square().sum(dim=(-2, -1)) * b.square().sum(dim=(-2, -1))
    return (a * b).sum(dim=(-2, -1)) / square.clamp(min=1e-12).sqrt()


def make_loss(settings: Training, molecule_photons: float) -> Loss:
    """Return the loss that is asked for, for molecules of a given brightness."""
    if settings.loss == "reconstruction":
        return ReconstructionLoss(unit_photons=molecule_photons)
    if settings.loss == "localization":
        return LocalizationLoss(settings.softness, settings.huber_width, settings.full_pixel)
    if settings.loss == "image":
        return ImageLoss(settings.softness)
    return TolerantLoss(settings.softness)
