"""Simulated stacks on which presets are tuned, and others on which they are judged."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from napari_unfold.files.presets import Preset
from napari_unfold.files.stacks import as_stack
from napari_unfold.jobs import run_to_end
from napari_unfold.reconstruction.reconstruct import Reconstruction, reconstruct
from napari_unfold.settings.microscope import Background, Camera, Optics
from napari_unfold.settings.recipe import Localization, Recipe, Solver
from napari_unfold.settings.terms import Fidelity
from napari_unfold.settings.training import SceneName
from napari_unfold.simulation.scenes import Simulation, simulate
from napari_unfold.tables.evaluate import Score, evaluate

TOLERANCES_NM = (50.0, 100.0, 250.0)


@dataclass(frozen=True)
class Scene:
    """What to simulate: molecules per square micrometre, photons, background, camera."""

    kind: SceneName
    density_per_um2: float
    photons: float = 1500.0
    background: float = 20.0
    excess_noise: float = 2.0
    sigma_nm: float = 110.0
    frames: int = 10

    @property
    def title(self) -> str:
        """One line for tables."""
        return (
            f"{self.kind}, {self.density_per_um2:g}/um2, {self.photons:g} photons, "
            f"background {self.background:g}"
        )

    def simulate(self, seed: int) -> Simulation:
        """Return the stack; the seed also decides where the filaments run."""
        recipe = Recipe(
            optics=Optics(psf_sigma_nm=self.sigma_nm),
            camera=Camera(excess_noise=self.excess_noise),
        )
        return simulate(
            self.kind,
            frames=self.frames,
            density_per_um2=self.density_per_um2,
            molecule_photons=self.photons,
            background_photons=self.background,
            recipe=recipe,
            seed=seed,
        )


TUNING = (
    Scene("random", 1.0),
    Scene("random", 4.0),
    Scene("random", 6.0, photons=2500.0),
    Scene("filaments", 2.0),
    Scene("filaments", 4.0),
    Scene("filaments", 3.0, photons=3000.0, background=200.0, excess_noise=1.0),
)


def run(
    simulation: Simulation,
    fidelity: Fidelity,
    preset: Preset | None,
    localization: Localization | None = None,
) -> Reconstruction:
    """Reconstruct a simulation as a user would: background and brightness are not given."""
    recipe = simulation.recipe.model_copy(
        update={
            "background": Background(),
            "solver": Solver(fidelity=fidelity),
            "localization": localization or (preset.localization if preset else Localization()),
        }
    )
    result: Reconstruction = run_to_end(reconstruct(as_stack(simulation.stack), recipe, preset))
    return result


def scores(result: Reconstruction, truth: pd.DataFrame) -> list[Score]:
    """Return the scores at the usual tolerances."""
    return evaluate(result.localizations, truth, TOLERANCES_NM)
