"""Every setting of what is done with a finished localization table, in validated models.

As everywhere in `napari_unfold.settings`, titles, units, bounds and explanations are written here
and nowhere else; the form in napari and the command line read them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator, model_validator

from napari_unfold.settings.section import Section, setting

RadiusUnit = Literal["nm", "uncertainty"]
RenderStyle = Literal["gaussians", "histogram"]
RenderWeight = Literal["count", "photons"]
Halves = Literal["blocks", "random"]


class Linking(Section):
    """Which localizations of consecutive frames are one molecule."""

    radius: float = setting(
        50.0,
        "Radius",
        "Localizations of following frames that are closer than this are one molecule.",
        also={
            "radius_nm": "Radius in nm.",
            "radius_uncertainties": "Radius in multiples of the standard deviation of the "
            "distance, from the uncertainties of both localizations (3 is usual).",
        },
        gt=0,
        le=10_000,
    )
    radius_unit: RadiusUnit = setting(
        "nm",
        "Radius in",
        "'nm', or 'uncertainty': multiples of the standard deviation of the distance, from the "
        "uncertainties of both localizations (3 is usual).",
    )
    dark_frames: int = setting(
        1,
        "Dark frames",
        "Number of frames for which a molecule may be invisible in between.",
        "frames",
        ge=0,
        le=100_000,
    )

    @model_validator(mode="before")
    @classmethod
    def _take_radius_with_unit(cls, values: Any) -> Any:
        units = {"radius_nm": "nm", "radius_uncertainties": "uncertainty"}
        stated = [name for name in units if isinstance(values, dict) and name in values]
        if len(stated) > 1:
            raise ValueError("the radius is given twice; give it in nm or in uncertainties")
        for name in stated:
            values = {**values, "radius": values[name], "radius_unit": units[name]}
            del values[name]
        return values


class Drift(Section):
    """How the drift of the stage is found."""

    blocks: int | Literal["auto"] = setting(
        "auto",
        "Time blocks",
        "Number of blocks of frames that are compared with one another: more follow a faster "
        "drift, fewer are more precise; 'auto' goes by the number of localizations.",
    )
    largest_drift_nm: float = setting(
        1000.0,
        "Largest drift",
        "The structure is searched up to this distance from where it was.",
        "nm",
        ge=1,
        le=100_000,
    )

    @field_validator("blocks")
    @classmethod
    def _check_blocks(cls, blocks: int | str) -> int | str:
        if isinstance(blocks, int) and not 2 <= blocks <= 200:
            raise ValueError(f"{blocks} time blocks cannot be used; give 2 to 200, or 'auto'")
        return blocks


class Rendering(Section):
    """How an image is made of localizations."""

    pixel_size_nm: float = setting(
        10.0, "Pixel size", "Side of a pixel of the rendered image.", "nm", ge=0.1, le=10_000
    )
    style: RenderStyle = setting(
        "gaussians",
        "Style",
        "'gaussians' draws each localization as a Gaussian as wide as its uncertainty, "
        "'histogram' counts the localizations in each pixel.",
    )
    width_nm: Literal["auto"] | float = setting(
        "auto",
        "Width",
        "Standard deviation of all Gaussians; 'auto' takes the uncertainty of each localization.",
        "nm",
    )
    weight: RenderWeight = setting(
        "count",
        "Brightness",
        "What a localization adds to the image in total: 'count' adds 1, 'photons' its photons.",
    )

    @field_validator("width_nm")
    @classmethod
    def _check_width(cls, width_nm: float | str) -> float | str:
        if isinstance(width_nm, float) and not 0 < width_nm <= 100_000:
            raise ValueError(
                f"Gaussians of {width_nm:g} nm cannot be drawn; give a positive number, or 'auto'"
            )
        return width_nm


class Resolution(Section):
    """How the resolution is measured by Fourier ring correlation."""

    halves: Halves = setting(
        "blocks",
        "Halves",
        "How the localizations are divided in two: 'blocks' takes alternating blocks of frames, "
        "so that a molecule seen in consecutive frames is not compared with itself; 'random' "
        "divides at random, for tables that were linked or have few frames.",
    )
    pixel_size_nm: Literal["auto"] | float = setting(
        "auto",
        "Pixel size",
        "Side of a pixel of the two images that are compared; 'auto' takes 5 nm, or more for "
        "large fields.",
        "nm",
    )

    @field_validator("pixel_size_nm")
    @classmethod
    def _check_pixel(cls, pixel_size_nm: float | str) -> float | str:
        if isinstance(pixel_size_nm, float) and not 0.1 <= pixel_size_nm <= 10_000:
            raise ValueError(
                f"a pixel of {pixel_size_nm:g} nm cannot be used; give 0.1 to 10000 nm, or 'auto'"
            )
        return pixel_size_nm
