"""Everything that is settled before the first frame is reconstructed."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.estimation.background import (
    detection_limit,
    estimate_crowding,
    estimate_molecule_photons,
)
from napari_unfold.estimation.observe import (
    background_map,
    check_frame_size,
    load_psf,
)
from napari_unfold.estimation.resolve_camera import resolve_camera
from napari_unfold.estimation.sample import frame_range, read_sample
from napari_unfold.files.presets import Preset
from napari_unfold.files.results import provenance
from napari_unfold.files.stacks import Stack
from napari_unfold.imaging.camera import CameraModel, to_photons
from napari_unfold.imaging.forward import forward_operator
from napari_unfold.imaging.grid import Grid
from napari_unfold.jobs import Event, Note, Stage
from napari_unfold.localization.localizer import Localizer
from napari_unfold.settings.recipe import Recipe
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters, Reference

KL_PEDESTAL = 0.005
"""Smallest background of the KL fidelity, as a fraction of a typical molecule's photons.

Both sides are raised to it where a frame is darker: that costs no precision beside the light of a
molecule, and spares the tiny steps that a vanishing background would need.
"""


@dataclass(frozen=True)
class Setup:
    """A network with all it needs to run over a stack.

    Attributes
    ----------
    grid : Grid
    camera : CameraModel
    frames : tuple of int
        First frame, and the one after the last.
    background : array (Y, X)
        Photons per camera pixel.
    molecule_photons : float
    pedestal_photons : float
        Added to data and background alike before the network sees them.
    network : UnfoldedNetwork
    localizer : Localizer
    device : torch.device
    recipe : Recipe
        With the camera as it was used.
    parameters : NetworkParameters
    notes : list of str
        What the user was told.
    """

    grid: Grid
    camera: CameraModel
    frames: tuple[int, int]
    background: NDArray[np.float32]
    molecule_photons: float
    pedestal_photons: float
    network: UnfoldedNetwork
    localizer: Localizer
    device: torch.device
    recipe: Recipe
    parameters: NetworkParameters
    notes: list[str]

    def record(
        self, stack: Stack, preset: Preset | None, n_localizations: int, seconds: float
    ) -> dict[str, Any]:
        """Return how the result came about, ready for JSON."""
        return {
            **provenance(stack, self.frames, self.device, seconds),
            "preset": preset.name if preset else None,
            "molecule_photons": round(self.molecule_photons, 2),
            "background_photons": {
                "min": round(float(self.background.min()), 3),
                "median": round(float(np.median(self.background)), 3),
                "max": round(float(self.background.max()), 3),
            },
            "localizations": n_localizations,
            "notes": self.notes,
            "recipe": self.recipe.model_dump(mode="json"),
            "network": self.parameters.model_dump(mode="json"),
        }


def prepare(
    stack: Stack, recipe: Recipe, preset: Preset | None, frames: slice, device: torch.device
) -> Generator[Event, None, Setup]:
    """Check the stack and the settings, and estimate what is left to be estimated.

    Raises
    ------
    InputError
    """
    span = frame_range(frames, stack.shape[0])
    if preset and recipe.solver.fidelity not in preset.networks:
        raise InputError(
            f"the preset '{preset.name}' has no parameters for the fidelity "
            f"'{recipe.solver.fidelity}'",
            f"Choose the fidelity {' or '.join(map(repr, preset.networks))}, or another preset",
            field="solver.fidelity",
        )
    psf = load_psf(recipe.optics)
    shape = stack.shape[1], stack.shape[2]
    check_frame_size(shape, psf)
    grid = Grid(shape, recipe.optics.pixel_size_nm, recipe.solver.upsampling)

    yield Stage("Reading the stack")
    grey = read_sample(stack, span)
    camera, notes = yield from resolve_camera(stack, recipe.camera, span, grey)
    recipe = recipe.model_copy(update={"camera": camera.settings(recipe.camera)})
    sample = to_photons(grey, camera)
    yield Stage("Estimating the background")
    background = background_map(sample, camera, recipe.background, shape)
    if recipe.background.photons == "auto":
        low, high = float(background.min()), float(background.max())
        notes.append(f"Background estimated: {low:.3g} to {high:.3g} photons per pixel")
        yield Note(notes[-1])

    operator = forward_operator(shape, grid.upsampling, psf, device=device)
    limit = detection_limit(background, camera, operator.point_energy)
    molecule_photons = recipe.solver.molecule_photons
    if molecule_photons == "auto":
        molecule_photons = estimate_molecule_photons(
            sample, background, camera, operator.point_energy
        )
        notes.append(
            f"Typical molecule estimated: {molecule_photons:.0f} photons per frame"
            if molecule_photons > limit
            else "No molecules stand out from the noise; looking for the faintest that could"
        )
        yield Note(notes[-1])

    pedestal = 0.0
    if recipe.solver.fidelity == "kl":
        read_noise = camera.read_noise_photons**2 / camera.excess_noise
        pedestal = max(read_noise, KL_PEDESTAL * molecule_photons - float(background.min()), 0.0)
    darkest = float(background.min()) + pedestal
    if preset:
        data = Reference(
            molecule_photons=molecule_photons,
            background_photons=darkest,
            norm_squared=operator.norm_squared,
            point_energy=operator.point_energy,
        )
        parameters = preset.networks[recipe.solver.fidelity].for_data(data)
    else:
        parameters = classical_parameters(
            operator,
            molecule_photons,
            darkest,
            fidelity=recipe.solver.fidelity,
            penalty=recipe.solver.penalty,
            iterations=recipe.solver.iterations,
        )
    return Setup(
        grid=grid,
        camera=camera,
        frames=span,
        background=background,
        molecule_photons=molecule_photons,
        pedestal_photons=pedestal,
        network=UnfoldedNetwork(operator, parameters, device=device),
        localizer=Localizer(
            sigma_px=psf.sigma_px,
            pixel_size_nm=grid.pixel_size_nm,
            upsampling=grid.upsampling,
            molecule_photons=molecule_photons,
            threshold_photons=parameters.threshold_photons,
            faintest_photons=max(
                recipe.localization.min_photons_fraction * molecule_photons, limit
            ),
            crowding=estimate_crowding(sample, background, molecule_photons, psf.sigma_px),
            camera=camera,
            settings=recipe.localization,
        ),
        device=device,
        recipe=recipe,
        parameters=parameters,
        notes=notes,
    )
