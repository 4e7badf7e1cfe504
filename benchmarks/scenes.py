"""Simulated stacks on which presets are tuned, and others on which they are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from napari_unfold.files.presets import Preset
from napari_unfold.files.stacks import as_stack
from napari_unfold.jobs import run_to_end
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.reconstruction.result import Reconstruction
from napari_unfold.settings.microscope import Background, Camera, Optics
from napari_unfold.settings.recipe import Localization, Recipe, Solver
from napari_unfold.settings.simulation import Instrument, Sample
from napari_unfold.settings.terms import Fidelity
from napari_unfold.settings.training import SceneName
from napari_unfold.simulation.scenes import Simulation, acquire
from napari_unfold.tables.evaluate import Score, evaluate

TOLERANCES_NM = (50.0, 100.0, 250.0)


@dataclass(frozen=True)
class Scene:
    """What to simulate: molecules per square micrometre, photons, background, camera.

    `sample` and `instrument` hold whatever else `Sample` and `Instrument` know,
    and `name` says what that is.
    """

    kind: SceneName
    density_per_um2: float
    photons: float = 1500.0
    background: float = 20.0
    excess_noise: float = 2.0
    sigma_nm: float = 110.0
    frames: int = 10
    read_noise: float = 0.0
    name: str = ""
    sample: Mapping[str, Any] = field(default_factory=dict)
    instrument: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """One line for tables."""
        if self.name:
            return f"{self.name}, {self.density_per_um2:g}/um2"
        return (
            f"{self.kind}, {self.density_per_um2:g}/um2, {self.photons:g} photons, "
            f"background {self.background:g}"
        )

    def simulate(self, seed: int) -> Simulation:
        """Return the stack; the seed also decides where the filaments run."""
        recipe = Recipe(
            optics=Optics(psf_sigma_nm=self.sigma_nm),
            camera=Camera(excess_noise=self.excess_noise, read_noise_photons=self.read_noise),
        )
        sample = Sample(
            scene=self.kind,
            frames=self.frames,
            density_per_um2=self.density_per_um2,
            molecule_photons=self.photons,
            background_photons=self.background,
            seed=seed,
            **self.sample,
        )
        return acquire(sample, Instrument(**self.instrument), recipe=recipe)


def real(name: str, density_per_um2: float, **more: Any) -> Scene:
    """Return a scene as acquisitions are: an sCMOS camera, molecules that stay on for frames."""
    sample = {
        "on_frames": 4.0, "brightness": "log-normal", "brightness_spread": 0.4,
        **more.pop("sample", {}),
    }  # fmt: skip
    usual = {"kind": "filaments", "frames": 40, "excess_noise": 1.0, "read_noise": 1.5}
    return Scene(**usual | more, name=name, density_per_um2=density_per_um2, sample=sample)


def realistic(density_per_um2: float) -> tuple[Scene, ...]:
    """Return what happens at a microscope, one thing at a time."""
    cells = {"background": "cells", "background_contrast": 6.0, "background_bleaching_frames": 200}
    hot = {"gain_spread": 0.03, "offset_spread_adu": 2.0, "hot_pixels": 0.03}
    return tuple(
        real(name, density_per_um2, **more)
        for name, more in (
            ("blinking", {}),
            ("blinking, clusters", {"kind": "clusters"}),
            ("blinking, on for 15 frames", {"sample": {"on_frames": 15.0}}),
            ("blinking, exponential brightness", {"sample": {"brightness": "exponential"}}),
            ("blinking, lit cells", {"sample": cells}),
            ("blinking, flicker of 10 %", {"sample": {"lamp_flicker": 0.1}}),
            ("blinking, 150 nm deep", {"sample": {"depth_nm": 150.0}}),
            ("blinking, drift of 100 nm", {"sample": {"drift_nm": 100.0}}),
            ("blinking, 3 % hot pixels", {"instrument": hot}),
            ("blinking, Airy", {"instrument": {"psf": "airy"}}),
        )
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
