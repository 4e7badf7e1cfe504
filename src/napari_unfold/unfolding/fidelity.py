"""Data fidelities of the energy: how well the light of an image explains a frame.

Each is a file in ``fidelities``; what it has to know of itself is listed here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from napari_unfold.settings import terms
from napari_unfold.unfolding.registry import term_class

if TYPE_CHECKING:
    import torch

    from napari_unfold.imaging.forward import ForwardOperator


class Fidelity(ABC):
    """A term ``D(A x + b, y)``, as a function of the light ``A x`` on the camera.

    Attributes
    ----------
    degree : float
        ``D`` of `c` times the light, frame and background is ``c^degree`` times ``D``.
    classical_weight : float
        Regularisation weight of an untrained network, as a fraction of `largest_weight`.
    starting_weights : tuple of float
        Fractions of `largest_weight` from which learning may start.
    starting_steps : tuple of float
        Multiples of `safe_step` from which learning may start.
    whitenings : tuple of float
        Whitenings of the misfit (`unfolding.whitening`) from which learning may start, beside none;
        empty where it cannot be whitened.
    """

    degree: ClassVar[float]
    classical_weight: ClassVar[float] = 0.3
    starting_weights: ClassVar[tuple[float, ...]] = (0.05, 0.1, 0.3, 0.6, 1.0)
    starting_steps: ClassVar[tuple[float, ...]] = (1.0,)
    whitenings: ClassVar[tuple[float, ...]] = ()

    @abstractmethod
    def value(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """``D`` of every frame, shape ``(...)`` for frames ``(..., Y, X)``."""

    @abstractmethod
    def residual(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the derivative of ``D`` by the light; ``A^T`` makes it the gradient in x."""

    @abstractmethod
    def curvature(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the derivative of `residual` by the light."""

    @abstractmethod
    def expected_curvature(
        self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:
        """Return what `curvature` is where the light explains the frame; positive.

        A step by its inverse brings the light of a single pixel to where it belongs, from above
        and from below.
        """

    @abstractmethod
    def safe_step(self, background_photons: float, weight: float) -> float:
        """Return the step with which an operator of norm one converges.

        Parameters
        ----------
        background_photons : float
            Lowest background of a camera pixel.
        weight : float
            Regularisation weight.
        """

    @abstractmethod
    def largest_weight(self, light_photons: float, background_photons: float) -> float:
        """Return the weight above which a lone molecule disappears.

        Parameters
        ----------
        light_photons : float
            ``B ||a||^2`` for a molecule of ``B`` photons: about that in its brightest pixel.
        background_photons : float
            Lowest background of a camera pixel.
        """

    def weight_bound(self, operator: ForwardOperator, y: torch.Tensor, b: torch.Tensor) -> float:
        """Return the largest weight that learning may try on frames `y`."""
        return zero_image_weight(self, operator, y, b)

    def pedestal_photons(
        self, molecule_photons: float, background_photons: float, read_noise_photons: float
    ) -> float:
        """Return what is to be added to data and background alike.

        Parameters
        ----------
        molecule_photons : float
            Photons of a typical molecule.
        background_photons : float
            Lowest background of a camera pixel.
        read_noise_photons : float
            Photons whose noise would be as large as the read noise: its variance, divided by the
            excess noise.
        """
        del molecule_photons, background_photons, read_noise_photons
        return 0.0


@cache
def fidelity_named(name: terms.Fidelity) -> Fidelity:
    """Return the fidelity of a name in `settings.terms.FIDELITIES`."""
    return term_class("fidelities", name, Fidelity)()  # type: ignore[type-abstract]


def zero_image_weight(
    fidelity: Fidelity, operator: ForwardOperator, y: torch.Tensor, b: torch.Tensor
) -> float:
    """Upper bound of the weight, equation (20): from it on, the zero image is the solution.

    ``||A^T (y - b)||_inf`` over positive values for least squares; in general the largest value
    of ``-A^T D'`` at the zero image, below which no pixel gains by receiving light (l1 norm).

    Parameters
    ----------
    fidelity : Fidelity
    operator : ForwardOperator
    y : tensor (..., Y, X)
        Frames in photons.
    b : tensor (..., Y, X)
        Background in photons.
    """
    slope = operator.adjoint(fidelity.residual(y.new_zeros(y.shape), y, b))
    return -float(slope.amin())
