"""Losses of the upper level: what learned parameters are to be good at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from napari_unfold.imaging.convolution import along_both_axes
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

    ``1 - sum min / sum max`` of both binarized images after a blur, averaged over some widths of
    it: a molecule found one pixel beside the truth is nearly right, while `LocalizationLoss` counts
    it as wrong twice. The widths stand for the tolerances of the Jaccard index that is reported.
    """

    softness: float = 0.1
    blurs_px: tuple[float, ...] = (0.7, 1.5, 3.0)

    def __call__(
        self, x: torch.Tensor, truth: torch.Tensor, threshold: torch.Tensor
    ) -> torch.Tensor:
        """Mean loss of images ``(R, qY, qX)``, from 0 to 1."""
        found, wanted = binarize(x, threshold, self.softness), (truth > 0).to(x.dtype)
        return torch.stack([self._of(found, wanted, blur) for blur in self.blurs_px]).mean()

    @staticmethod
    def _of(found: torch.Tensor, wanted: torch.Tensor, blur_px: float) -> torch.Tensor:
        found, wanted = blurred(found, blur_px), blurred(wanted, blur_px)
        common = torch.minimum(found, wanted).sum(dim=(-2, -1))
        either = torch.maximum(found, wanted).sum(dim=(-2, -1)).clamp(min=1e-12)
        return (1.0 - common / either).mean()


def blurred(images: torch.Tensor, blur_px: float) -> torch.Tensor:
    """Blur images ``(R, qY, qX)`` by a Gaussian of a width in fine pixels."""
    half = max(1, round(3.0 * blur_px))
    offsets = torch.arange(-half, half + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (offsets / blur_px) ** 2)
    return along_both_axes(images, kernel / kernel.sum())


@dataclass(frozen=True)
class ImageLoss(TolerantLoss):
    """The tolerant loss and, five times as important, what an image lacks in likeness.

    Not the paper's. Likeness is the correlation of image and truth, both blurred by one fine
    pixel. The tolerant loss alone knows of light only whether it is above the threshold: images
    become so sparse that they resemble the truth less, though more molecules are in their place.
    """

    def __call__(
        self, x: torch.Tensor, truth: torch.Tensor, threshold: torch.Tensor
    ) -> torch.Tensor:
        """Mean loss of images ``(R, qY, qX)``, from 0 to 1.8."""
        unlike = 1.0 - correlation(blurred(x, 1.0), blurred(truth, 1.0)).mean()
        return (super().__call__(x, truth, threshold) + 5.0 * unlike) / 6.0


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
