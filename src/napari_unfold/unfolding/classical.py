"""Classical parameters: what the network starts from, and runs with when nothing was trained."""

from __future__ import annotations

from napari_unfold.imaging.forward import ForwardOperator
from napari_unfold.settings.recipe import Fidelity, Penalty
from napari_unfold.unfolding.parameters import NetworkParameters, Reference

WEIGHT: dict[Fidelity, float] = {"gaussian": 0.3, "kl": 0.4}
"""Regularisation weight, as a fraction of the one above which a lone molecule disappears."""


def classical_parameters(
    operator: ForwardOperator,
    molecule_photons: float,
    background_photons: float,
    *,
    fidelity: Fidelity = "gaussian",
    penalty: Penalty = "log-sum",
    iterations: int = 400,
    weight: float | None = None,
) -> NetworkParameters:
    """Parameters that work untrained on any data.

    Steps are constant: ``1 / L`` for the Gaussian fidelity. The curvature of the KL energy is
    ``L y / (A x + b)^2``, about ``L / b`` where a frame is dark and explained. A weight lambda
    makes the light ``1 + lambda`` times fainter (the l1 norm of x is that of ``A x``), which
    raises the curvature once more: its steps are ``b / L / (1 + lambda)``.

    Parameters
    ----------
    operator : ForwardOperator
    molecule_photons : float
        Photons of a typical molecule.
    background_photons : float
        Lowest background of a camera pixel.
    fidelity : {"gaussian", "kl"}
    penalty : {"log-sum", "l1"}
    iterations : int
        K.
    weight : float, optional
        Regularisation weight, as a fraction of the one above which a lone molecule disappears.
    """
    data = Reference(
        molecule_photons=molecule_photons,
        background_photons=background_photons,
        norm_squared=operator.norm_squared,
        point_energy=operator.point_energy,
    )
    lambda_ = (WEIGHT[fidelity] if weight is None else weight) * data.largest_weight(fidelity)
    safe_step = (
        1.0 if fidelity == "gaussian" else background_photons / (1.0 + lambda_)
    ) / operator.norm_squared
    log_sum = penalty == "log-sum"
    return NetworkParameters(
        fidelity=fidelity,
        step_sizes=[safe_step] * iterations,
        weight=lambda_,
        sparsity_photons=0.1 * molecule_photons if log_sum else None,
        l1_iterations=iterations // 4 if log_sum else 0,
        threshold_photons=0.1 * molecule_photons,
        projection_width_photons=1e-3 * molecule_photons,
        reference=data,
    )
