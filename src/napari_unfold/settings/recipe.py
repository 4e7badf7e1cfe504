"""Everything a reconstruction needs to be told, in one validated model.

A `Recipe` is what the form in napari edits, what the command line fills in, what a preset stores
and what is written beside every result. Titles, units, bounds and explanations of all settings
come from the fields below and are written nowhere else.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from napari_unfold.settings.microscope import Background, Camera, Optics
from napari_unfold.settings.section import Section, setting
from napari_unfold.settings.terms import FIDELITIES, PENALTIES, Fidelity, Penalty, listed


class Solver(Section):
    """The unfolded network: what it minimises and for how many iterations."""

    fidelity: Fidelity = setting("gaussian", "Fidelity", f"Noise model: {listed(FIDELITIES)}.")
    penalty: Penalty = setting("log-sum", "Penalty", f"Sparsity term: {listed(PENALTIES)}.")
    iterations: int = setting(400, "Iterations", "Number of unfolded iterations K.", ge=1, le=5000)
    upsampling: int = setting(
        4, "Upsampling", "Fine pixels per camera pixel along each axis.", ge=1, le=16
    )
    molecule_photons: Literal["auto"] | float = setting(
        "auto",
        "Photons per molecule",
        "Photons of a typical molecule in one frame, to which the preset is rescaled; "
        "'auto' estimates it from the stack.",
        "photons",
    )

    trust_settings: bool = setting(
        False,
        "Trust settings",
        "Go on where optics or camera contradict the stack, which is refused otherwise.",
    )

    @model_validator(mode="after")
    def _check_brightness(self) -> Self:
        if isinstance(self.molecule_photons, float) and not 0 < self.molecule_photons <= 1e9:
            raise ValueError(
                f"{self.molecule_photons:g} photons per molecule cannot be; "
                "give a positive number (below a billion), or 'auto'"
            )
        return self


Follow = Literal["auto", "on", "off"]


class Localization(Section):
    """From reconstructed frames to a list of molecules."""

    follow: Follow = setting(
        "auto",
        "Follow in time",
        "A molecule that stays on for several frames is fitted as one, at one place: 'auto' does "
        "so if the stack shows that molecules stay on, 'off' looks at every frame by itself.",
    )

    min_photons_fraction: float = setting(
        0.15,
        "Faintest molecule",
        "Molecules fainter than this fraction of a typical one are discarded, and in any case "
        "those that do not stand out from the noise.",
        ge=0.01,
        le=1,
    )
    split_brightness: float = setting(
        1.0,
        "Brightest molecule",
        "A spot brighter than this multiple of a typical molecule is tested for being two.",
        ge=1,
        le=1000,
    )
    merge_distance_nm: float = setting(
        0.0,
        "Merge distance",
        "Localizations closer than this become one, whatever the statistical test says of them; "
        "0 leaves it to the test.",
        "nm",
        ge=0,
        le=1000,
    )


class Recipe(Section):
    """All settings of a reconstruction."""

    @classmethod
    def section_name(cls) -> str:
        """Return nothing: its sections have names of their own."""
        return ""

    optics: Optics = Field(default_factory=Optics)
    camera: Camera = Field(default_factory=Camera)
    background: Background = Field(default_factory=Background)
    solver: Solver = Field(default_factory=Solver)
    localization: Localization = Field(default_factory=Localization)
