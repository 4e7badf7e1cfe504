"""Classical parameters: what the network starts from, and runs with when nothing was trained."""

from __future__ import annotations

from napari_unfold.imaging.forward import ForwardOperator
from napari_unfold.settings.terms import Fidelity, Penalty
from napari_unfold.unfolding.fidelity import fidelity_named
from napari_unfold.unfolding.parameters import NetworkParameters, Reference
from napari_unfold.unfolding.penalty import penalty_named


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
    """Parameters that work untrained on any data; all steps are the safe one.

    Parameters
    ----------
    operator : ForwardOperator
    molecule_photons : float
        Photons of a typical molecule.
    background_photons : float
        Lowest background of a camera pixel.
    fidelity, penalty : str
        Terms of the energy.
    iterations : int
        K.
    weight : float, optional
        Regularisation weight, as a fraction of the one above which a lone molecule disappears.
        Default: what suits the fidelity.
    """
    data = Reference(
        molecule_photons=molecule_photons,
        background_photons=background_photons,
        norm_squared=operator.norm_squared,
        point_energy=operator.point_energy,
    )
    share = fidelity_named(fidelity).classical_weight if weight is None else weight
    lambda_ = share * data.largest_weight(fidelity)
    term = penalty_named(penalty)
    return NetworkParameters(
        fidelity=fidelity,
        penalty=penalty,
        step_sizes=[data.safe_step(fidelity, lambda_)] * iterations,
        weight=lambda_,
        penalty_parameters=term.classical(molecule_photons),
        l1_iterations=term.l1_iterations(iterations),
        threshold_photons=0.1 * molecule_photons,
        projection_width_photons=1e-3 * molecule_photons,
        reference=data,
    )
