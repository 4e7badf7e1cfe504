"""Everything a reconstruction needs to be told, in one validated model.

A `Recipe` is what the form in napari edits, what the command line fills in, what a preset stores
and what is written beside every result. Titles, units, bounds and explanations of all settings
come from the fields below and are written nowhere else.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from napari_unfold.jobs import InputError

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian, in units of its sigma."""

Fidelity = Literal["gaussian", "kl"]
Penalty = Literal["l1", "log-sum"]
LossName = Literal["reconstruction", "localization", "tolerant"]
SceneName = Literal["filaments", "random"]
FluctuationImageName = Literal["variance", "lag-1", "mean"]
PSFSource = Literal["data", "learned", "settings"]


def setting(default: Any, title: str, description: str, unit: str = "", **bounds: Any) -> Any:
    """Declare a field with the texts and the unit that forms and help pages show."""
    extra: dict[str, JsonValue] = {"unit": unit}
    return Field(default, title=title, description=description, json_schema_extra=extra, **bounds)


class Section(BaseModel):
    """A group of settings; unknown names and values out of range are refused."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


class Camera(Section):
    """How the camera turns photons into grey values: ``ADU = offset + photons * gain``."""

    offset_adu: float = setting(
        100.0, "Offset", "Grey value of a dark pixel (baseline, bias).", "ADU", ge=-1e5, le=1e5
    )
    adu_per_photon: float = setting(
        2.0,
        "Gain",
        "Grey values per detected photon, EM gain included.",
        "ADU/photon",
        ge=1e-3,
        le=1e4,
    )
    excess_noise: float = setting(
        2.0,
        "Excess noise",
        "Variance of the photon noise relative to its mean: 1 for CCD and sCMOS cameras, "
        "2 for EMCCD cameras with the EM gain on.",
        ge=1,
        le=10,
    )
    read_noise_photons: float = setting(
        0.0,
        "Read noise",
        "Standard deviation of a dark pixel, in photons; negligible for EMCCD cameras.",
        "photons",
        ge=0,
        le=1e3,
    )


class Optics(Section):
    """Pixel size and point spread function (PSF) of the microscope."""

    pixel_size_nm: float = setting(
        100.0, "Pixel size", "Side of a camera pixel in the sample plane.", "nm", ge=1, le=10_000
    )
    psf_sigma_nm: float | None = setting(
        None,
        "PSF sigma",
        "Standard deviation of the Gaussian PSF (FWHM / 2.355).",
        "nm",
        gt=0,
        le=20_000,
    )
    psf_image: Path | None = setting(
        None, "PSF image", "TIFF image of a bead, used instead of a Gaussian PSF."
    )
    psf_image_pixel_nm: float | None = setting(
        None, "PSF image pixel", "Pixel size of the bead image.", "nm", gt=0, le=10_000
    )

    @model_validator(mode="after")
    def _check_sigma(self) -> Self:
        sigma = self.psf_sigma_nm
        if sigma is not None and not 0.3 <= sigma / self.pixel_size_nm <= 20:
            raise ValueError(
                f"a PSF sigma of {sigma:g} nm (FWHM {sigma * FWHM_PER_SIGMA:.0f} nm) is "
                f"{sigma / self.pixel_size_nm:.2g} pixels of {self.pixel_size_nm:g} nm, but must "
                "lie between 0.3 and 20 pixels; check both numbers and their units"
            )
        return self

    @property
    def psf_fwhm_nm(self) -> float | None:
        """Full width at half maximum of the Gaussian PSF, in nm."""
        return None if self.psf_sigma_nm is None else self.psf_sigma_nm * FWHM_PER_SIGMA


class Background(Section):
    """Light that does not come from molecules in focus."""

    photons: Literal["auto"] | float | Path = setting(
        "auto",
        "Background",
        "Photons per camera pixel without any molecule: 'auto' estimates a map from the stack, "
        "a number is used everywhere, a TIFF file holds a map.",
        "photons/pixel",
    )

    @model_validator(mode="after")
    def _check_positive(self) -> Self:
        if isinstance(self.photons, float) and not 0 < self.photons <= 1e6:
            raise ValueError(
                f"a background of {self.photons:g} photons per pixel cannot be; "
                "give a positive number (below a million), or 'auto'"
            )
        return self


class Solver(Section):
    """The unfolded network: what it minimises and for how many iterations."""

    fidelity: Fidelity = setting(
        "gaussian",
        "Fidelity",
        "Noise model: 'gaussian' (least squares) or 'kl' (Kullback-Leibler, for photon noise).",
    )
    penalty: Penalty = setting(
        "log-sum", "Penalty", "Sparsity term: 'l1' as in the paper, or the sharper 'log-sum'."
    )
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

    @model_validator(mode="after")
    def _check_brightness(self) -> Self:
        if isinstance(self.molecule_photons, float) and not 0 < self.molecule_photons <= 1e9:
            raise ValueError(
                f"{self.molecule_photons:g} photons per molecule cannot be; "
                "give a positive number (below a billion), or 'auto'"
            )
        return self


class Localization(Section):
    """From a reconstructed frame to a list of molecules."""

    min_photons_fraction: float = setting(
        0.1,
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


class Training(Section):
    """How parameters are learned."""

    loss: LossName = setting(
        "tolerant",
        "Loss",
        "What the parameters are to be good at: 'reconstruction' (right light in every pixel), "
        "'localization' (molecules in the right pixel, as in the paper), or 'tolerant' (the same, "
        "but one pixel beside is nearly right).",
    )
    outer_iterations: int = setting(
        30, "Learning steps", "Number of steps of the learning algorithm.", ge=1, le=1000
    )
    frames: int = setting(
        12, "Frames", "Number of frames to learn from and to check with.", ge=2, le=1000
    )
    validation_share: float = setting(
        0.25,
        "Held out",
        "Share of the frames that is kept for checking and not learned from.",
        gt=0,
        lt=1,
    )
    scene: SceneName = setting(
        "filaments", "Structure", "Simulated molecules lie on filaments, or anywhere."
    )
    density_per_um2: float = setting(
        3.0,
        "Density",
        "Simulated molecules per square micrometre and frame.",
        "per µm²",
        gt=0,
        le=100,
    )
    steepness: float = setting(
        0.5,
        "Softness (ρ)",
        "Half width of the passage from an empty to a full pixel around the threshold, relative to "
        "it; small is sharp. Localization and tolerant loss.",
        gt=0,
        lt=1,
    )
    huber_width: float = setting(
        0.1,
        "Huber width (δ)",
        "Differences of pixels up to it count by their square, larger ones by their size. "
        "Localization loss; in the unit of the full pixel.",
        gt=0,
        le=1000,
    )
    full_pixel: float = setting(
        1.0,
        "Full pixel (M)",
        "Value of a pixel that holds a molecule; 1 or 255 in the paper. Localization loss.",
        gt=0,
        le=1e6,
    )


FLUCTUATION_ITERATIONS = 100
"""Usual K of fluctuation imaging; more of them sharpen the noise too."""


class Fluctuation(Section):
    """How a stack of fluctuating emitters becomes one super-resolved image."""

    image: FluctuationImageName = setting(
        "variance",
        "Image",
        "What is sharpened: the 'variance' of every pixel over time, its covariance with the next "
        "frame ('lag-1', free of photon noise, for slow blinking), or the 'mean' (wide-field).",
    )
    psf_from: PSFSource = setting(
        "data",
        "PSF from",
        "'data': estimated from what neighbouring pixels of the stack have in common; 'learned': "
        "found by the network on patterns simulated with your settings; 'settings': as entered.",
    )
    weight: float = setting(
        0.003,
        "Sparsity",
        "Regularisation weight, as a fraction of the one above which the image is empty.",
        ge=1e-6,
        le=0.9,
    )
    block_frames: int = setting(
        100,
        "Time block",
        "Bleaching and slow changes of the intensity are removed in blocks of this many frames.",
        "frames",
        ge=10,
        le=100_000,
    )
    learning_steps: int = setting(
        12,
        "Learning steps",
        "Steps in which PSF, step sizes and sparsity are learned on simulated patterns; "
        "0 uses values from theory.",
        ge=0,
        le=200,
    )
    loss: LossName = setting(
        "reconstruction",
        "Loss",
        "What is learned: 'reconstruction' (the right brightness, which tells the PSF best), "
        "'localization' (the right pixels, as in the paper), or 'tolerant'.",
    )

    @model_validator(mode="after")
    def _check_learning(self) -> Self:
        if self.psf_from == "learned" and self.learning_steps == 0:
            raise ValueError("a learned PSF needs learning steps; 12 are usually enough")
        return self


class Recipe(Section):
    """All settings of a reconstruction."""

    optics: Optics = Field(default_factory=Optics)
    camera: Camera = Field(default_factory=Camera)
    background: Background = Field(default_factory=Background)
    solver: Solver = Field(default_factory=Solver)
    localization: Localization = Field(default_factory=Localization)


_BESIDE: dict[str, type[Section]] = {"training": Training, "fluctuation": Fluctuation}
"""Sections of other jobs, whose settings are no part of a `Recipe`."""


def explain(error: ValidationError) -> InputError:
    """Turn a validation error into one sentence that names the setting and its range."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"] if str(part).islower()]
    for name, section in _BESIDE.items():
        if error.title == section.__name__:
            path = [name, *path]
    if first["type"] == "value_error":
        return InputError(str(first["ctx"]["error"]), field=".".join(path) or None)
    if first["type"] == "extra_forbidden":
        return InputError(f"'{path[-1]}' is not a known setting", "Check its spelling")
    field = _field_at(path)
    name = field.title if field else ".".join(path)
    if field and _unit(field):
        name = f"{name} ({_unit(field)})"
    in_range = first["type"].startswith(("greater_than", "less_than"))
    return InputError(
        f"{name}: {first['input']!r} is not usable ({first['msg'].lower()})",
        "Give a value in that range" if in_range else "Correct the value",
        field=".".join(path),
    )


def _field_at(path: list[str]) -> Any:
    model: Any = Recipe
    if path and path[0] in _BESIDE:
        model, path = _BESIDE[path[0]], path[1:]
    field = None
    for name in path:
        fields = getattr(model, "model_fields", {})
        if name not in fields:
            return field
        field = fields[name]
        model = field.annotation
    return field


def _unit(field: Any) -> str:
    return str((field.json_schema_extra or {}).get("unit", ""))
