"""The parameters theta of the unfolded network as plain numbers, and how they are rescaled.

Parameters belong to the data they were found on. They are carried over to data of another
brightness exactly (scale equivariance), and to another PSF or upsampling by two rules of thumb.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from napari_unfold.settings.recipe import Fidelity
from napari_unfold.settings.section import Section

Positive = Annotated[float, Field(gt=0)]


class Reference(Section):
    """The data to which a set of parameters belongs.

    Attributes
    ----------
    molecule_photons : float
        Photons of a typical molecule in one frame.
    background_photons : float
        Lowest background of a camera pixel.
    norm_squared : float
        ``||A||^2`` of the forward operator.
    point_energy : float
        ``||a||^2`` of the image of one photon.
    """

    molecule_photons: Positive
    background_photons: Positive
    norm_squared: Positive
    point_energy: Positive

    def largest_weight(self, fidelity: Fidelity) -> float:
        """Return the weight above which a lone molecule disappears.

        Gaussian: ``B ||a||^2`` for a molecule of ``B`` photons. KL: ``B ||a||^2 / b`` if it is
        faint beside the background; if it is bright its light is divided by ``1 + weight``,
        whatever its brightness, which sets a limit of about one.
        """
        light = self.molecule_photons * self.point_energy
        return light if fidelity == "gaussian" else light / (light + self.background_photons)


class NetworkParameters(Section):
    """Parameters of the unfolded network for one fidelity.

    Attributes
    ----------
    fidelity : str
    step_sizes : list of float
        ``alpha_0 .. alpha_{K-1}``; their number is the number of iterations.
    weight : float
        Regularisation weight lambda (in photons for the Gaussian fidelity, a number for KL).
    sparsity_photons : float or None
        ``p`` of the log-sum penalty; None for the l1 norm.
    l1_iterations : int
        Number of first iterations that use the l1 norm, where log-sum would still be blind.
    threshold_photons : float
        Fine pixels below it are empty (the paper's binarization threshold).
    projection_width_photons : float
        Width epsilon of the smoothed projection.
    reference : Reference
    """

    fidelity: Fidelity
    step_sizes: list[Positive] = Field(min_length=1, max_length=5000)
    weight: Positive
    sparsity_photons: Positive | None = None
    l1_iterations: int = Field(default=0, ge=0)
    threshold_photons: Positive
    projection_width_photons: Positive
    reference: Reference

    @model_validator(mode="after")
    def _check_l1_iterations(self) -> Self:
        if self.l1_iterations > len(self.step_sizes):
            raise ValueError("more l1 iterations than iterations")
        return self

    @property
    def iterations(self) -> int:
        """Number of unfolded iterations K."""
        return len(self.step_sizes)

    def rescaled(self, c: float) -> NetworkParameters:
        """Return the parameters for data `c` times as bright.

        Exact: the network applied to ``c y`` and ``c b`` with these parameters returns ``c x``.
        The Gaussian energy needs the weight scaled by ``c`` and the same steps, the KL energy
        steps scaled by ``c`` and the same weight; thresholds and widths scale by ``c`` in both.
        """
        gaussian = self.fidelity == "gaussian"
        old = self.reference
        return self.model_copy(
            update={
                "step_sizes": self.step_sizes if gaussian else [c * a for a in self.step_sizes],
                "weight": c * self.weight if gaussian else self.weight,
                "sparsity_photons": c * self.sparsity_photons if self.sparsity_photons else None,
                "threshold_photons": c * self.threshold_photons,
                "projection_width_photons": c * self.projection_width_photons,
                "reference": old.model_copy(
                    update={
                        "molecule_photons": c * old.molecule_photons,
                        "background_photons": c * old.background_photons,
                    }
                ),
            }
        )

    def for_data(self, data: Reference) -> NetworkParameters:
        """Return the parameters for other data.

        The brightness of the molecules is accounted for exactly (`rescaled`). For the rest, what
        matters is kept: steps stay the same multiple of the safe step (``1 / L``, for KL
        ``b / L / (1 + lambda)``), and the weight the same fraction of the one above which a lone
        molecule disappears.
        """
        same_brightness = self.rescaled(data.molecule_photons / self.reference.molecule_photons)
        old = same_brightness.reference
        weight = data.largest_weight(self.fidelity) / old.largest_weight(self.fidelity)
        steps = old.norm_squared / data.norm_squared
        if self.fidelity == "kl":
            steps *= data.background_photons / old.background_photons
            steps *= (1.0 + same_brightness.weight) / (1.0 + weight * same_brightness.weight)
        return same_brightness.model_copy(
            update={
                "step_sizes": [steps * a for a in same_brightness.step_sizes],
                "weight": weight * same_brightness.weight,
                "reference": data,
            }
        )
