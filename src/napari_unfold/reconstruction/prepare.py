"""The network and the localizer for what was seen of a stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from napari_unfold.errors import InputError
from napari_unfold.estimation.observe import MoleculeObservation
from napari_unfold.files.presets import Preset
from napari_unfold.files.results import provenance
from napari_unfold.files.stacks import Stack
from napari_unfold.imaging.forward import ForwardOperator, forward_operator
from napari_unfold.imaging.grid import Grid
from napari_unfold.localization.localizer import Localizer
from napari_unfold.settings.microscope import FWHM_PER_SIGMA
from napari_unfold.settings.recipe import Recipe
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.fidelity import fidelity_named
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters, Reference


@dataclass(frozen=True)
class Setup:
    """A network with all it needs to run over a stack.

    Attributes
    ----------
    seen : MoleculeObservation
    recipe : Recipe
        As it is used: with the camera in full, and penalty and iterations of the preset.
    grid : Grid
    pedestal_photons : float
        Added to data and background alike before the network sees them.
    network : UnfoldedNetwork
    parameters : NetworkParameters
    localizer : Localizer
    device : torch.device
    """

    seen: MoleculeObservation
    recipe: Recipe
    grid: Grid
    pedestal_photons: float
    network: UnfoldedNetwork
    parameters: NetworkParameters
    localizer: Localizer
    device: torch.device

    def with_neighbours(self, start: int, stop: int, total: int) -> tuple[int, int]:
        """Return the frames that the network has to see for those from `start` to `stop`."""
        margin = 1 if self.parameters.coupling else 0
        return max(start - margin, 0), min(stop + margin, total)

    def record(
        self, stack: Stack, preset: Preset | None, n_localizations: int, seconds: float
    ) -> dict[str, Any]:
        """Return how the result came about, ready for JSON."""
        seen = self.seen
        used = seen.spot if seen.refined else seen.psf
        sigma_nm = used.sigma_px * self.grid.pixel_size_nm
        return {
            **provenance(stack, seen.frames, self.device, seconds),
            "preset": preset.name if preset else None,
            "psf": {"sigma_nm": sigma_nm, "fwhm_nm": FWHM_PER_SIGMA * sigma_nm},
            "molecule_photons": round(seen.molecule_photons, 2),
            "background_photons": {
                "min": round(float(seen.background.min()), 3),
                "median": round(float(np.median(seen.background)), 3),
                "max": round(float(seen.background.max()), 3),
            },
            "localizations": n_localizations,
            "notes": seen.notes,
            "recipe": self.recipe.model_dump(mode="json"),
            "network": self.parameters.model_dump(mode="json"),
        }


def check_preset(preset: Preset | None, recipe: Recipe) -> None:
    """Refuse a preset without parameters for the fidelity of the recipe.

    Raises
    ------
    InputError
    """
    if preset and recipe.solver.fidelity not in preset.networks:
        raise InputError(
            f"the preset '{preset.name}' has no parameters for the fidelity "
            f"'{recipe.solver.fidelity}'",
            f"Choose the fidelity {' or '.join(map(repr, preset.networks))}, or another preset",
            field="solver.fidelity",
        )


def prepare(
    seen: MoleculeObservation,
    preset: Preset | None,
    device: torch.device,
    *,
    coupled: bool = True,
) -> Setup:
    """Build network and localizer, with the parameters of a preset or classical ones.

    Parameters
    ----------
    seen : MoleculeObservation
    preset : Preset, optional
    device : torch.device
    coupled : bool
        Let neighbouring frames help each other, as strongly as the preset says.

    Raises
    ------
    InputError
        If the preset does not suit the recipe.
    """
    recipe = seen.recipe
    check_preset(preset, recipe)
    grid = Grid(seen.shape, recipe.optics.pixel_size_nm, recipe.solver.upsampling)
    operator = forward_operator(seen.shape, grid.upsampling, seen.psf, device=device)
    pedestal = pedestal_photons(seen)
    if preset:
        data = Reference(
            molecule_photons=seen.molecule_photons,
            background_photons=float(seen.background.min()) + pedestal,
            norm_squared=operator.norm_squared,
            point_energy=operator.point_energy,
        )
        parameters = preset.networks[recipe.solver.fidelity].for_data(data)
    else:
        parameters = untrained(operator, seen)
    if not coupled:
        parameters = parameters.without_coupling()
    used = {"penalty": parameters.penalty, "iterations": parameters.iterations}
    return Setup(
        seen=seen,
        recipe=recipe.model_copy(update={"solver": recipe.solver.model_copy(update=used)}),
        grid=grid,
        pedestal_photons=pedestal,
        network=UnfoldedNetwork(operator, parameters, device=device),
        parameters=parameters,
        localizer=Localizer(
            spot=seen.spot,
            pixel_size_nm=grid.pixel_size_nm,
            upsampling=grid.upsampling,
            molecule_photons=seen.molecule_photons,
            brightness=seen.brightness,
            threshold_photons=parameters.threshold_photons,
            faintest_photons=max(
                recipe.localization.min_photons_fraction * seen.molecule_photons,
                seen.detection_limit_photons,
            ),
            crowding=seen.crowding,
            camera=seen.camera,
            settings=recipe.localization,
        ),
        device=device,
    )


def pedestal_photons(seen: MoleculeObservation) -> float:
    """Return what the fidelity wants to be added to data and background alike."""
    return fidelity_named(seen.recipe.solver.fidelity).pedestal_photons(
        seen.molecule_photons,
        float(seen.background.min()),
        float(np.square(seen.camera.typical.read_noise_photons)) / seen.camera.excess_noise,
    )


def untrained(operator: ForwardOperator, seen: MoleculeObservation) -> NetworkParameters:
    """Return the classical parameters for what was seen, with the terms of its recipe."""
    solver = seen.recipe.solver
    return classical_parameters(
        operator,
        seen.molecule_photons,
        float(seen.background.min()) + pedestal_photons(seen),
        fidelity=solver.fidelity,
        penalty=solver.penalty,
        iterations=solver.iterations,
    )
