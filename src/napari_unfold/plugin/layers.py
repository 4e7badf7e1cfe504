"""From results to napari layers, and from Points layers back to tables.

napari places an array by the *centre* of its first pixel, in whatever unit the layer has. Inside
this project positions are nm from the *outer corner* of that pixel. The change from one to the
other is made here and nowhere else:

* A reconstruction lies exactly over its stack: same unit, translation, rotation, shear and affine
  transformation, pixels ``upsampling`` times smaller.
* The data of a Points layer are ``(frame, y, x)`` from the outer corner of the stack, in the unit
  of the stack (nm, if the stack has nm); the layer's translation carries the half pixel and the
  place of the stack. So the numbers seen in napari are those of the localization table.

The points are three-dimensional: they follow the time slider, and each frame of the stack can be
checked against what was found in it. Everything at once is what the reconstruction shows; still,
`show_frames_around` widens the slice, so one layer serves both views and a table of a million
rows is not held twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from napari_unfold.errors import InputError
from napari_unfold.imaging.grid import fine_scale_and_translate
from napari_unfold.settings.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

    from napari_unfold.files.stacks import Stack
    from napari_unfold.reconstruction.reconstruct import Reconstruction

LayerData = tuple[Any, dict[str, Any], str]

METADATA_KEY = "napari_unfold"
POINT_SIZE_PIXELS = 0.6
POINT_STYLE = {
    "symbol": "ring",
    "face_color": "#35e0ff",
    "border_color": "#35e0ff",
    "border_width": 0.05,
    "opacity": 0.9,
    # rings of fewer pixels on the screen fade away; these turn into dots
    "canvas_size_limits": (5, 10_000),
    "projection_mode": "all",
}


@dataclass(frozen=True)
class Placement:
    """Where the frames of a stack lie in the world of a viewer.

    All vectors and matrices are for the last three axes ``(T, Y, X)`` of the layer.

    Attributes
    ----------
    name : str
        Name of the stack layer.
    scale, translate : numpy.ndarray, shape (3,)
        Step between indices and position of index 0, in `units`.
    rotate, shear : numpy.ndarray, shape (3, 3)
        Rotation and shear of the layer.
    affine : numpy.ndarray, shape (4, 4)
        Affine transformation applied last.
    units : tuple of str
        Units of the three axes.
    """

    name: str
    scale: np.ndarray
    translate: np.ndarray
    rotate: np.ndarray
    shear: np.ndarray
    affine: np.ndarray
    units: tuple[str, str, str]

    @classmethod
    def of(cls, layer: Layer) -> Placement:
        """Copy the placement of a layer of three or more dimensions."""
        keep = slice(layer.ndim - 3, layer.ndim)
        homogeneous = [*range(layer.ndim - 3, layer.ndim), layer.ndim]
        affine = np.asarray(layer.affine.affine_matrix)
        return cls(
            name=layer.name,
            scale=np.array(layer.scale, dtype=float)[keep],
            translate=np.array(layer.translate, dtype=float)[keep],
            rotate=np.array(layer.rotate, dtype=float)[keep, keep],
            shear=_shear_matrix(layer.shear, layer.ndim)[keep, keep],
            affine=affine[np.ix_(homogeneous, homogeneous)],
            units=(str(layer.units[-3]), str(layer.units[-2]), str(layer.units[-1])),
        )

    def moved(self, offset: np.ndarray) -> np.ndarray:
        """Return the translation of what starts `offset` (unrotated, in units) from the stack."""
        moved: np.ndarray = self.translate + self.rotate @ self.shear @ offset
        return moved

    def keywords(self, ndim: int) -> dict[str, Any]:
        """Keyword arguments shared by all result layers of `ndim` (2 or 3) dimensions."""
        last = slice(3 - ndim, 3)
        return {
            "rotate": self.rotate[last, last],
            "shear": self.shear[last, last],
            "affine": self.affine[3 - ndim :, 3 - ndim :],
            "units": self.units[last],
            "axis_labels": ("t", "y", "x")[last],
        }


def _shear_matrix(shear: Sequence[float], ndim: int) -> np.ndarray:
    values = np.asarray(shear, dtype=float)
    if values.ndim == 2:
        return values
    matrix = np.eye(ndim)
    matrix[np.triu_indices(ndim, 1)] = values[: ndim * (ndim - 1) // 2] if values.any() else 0.0
    return matrix


def pixel_size_nm(layer: Layer) -> float | None:
    """Pixel size a layer states, in nm; None if its last two units are no lengths.

    Raises
    ------
    InputError
        If the pixels are not square.
    """
    factors = [nm_per(unit) for unit in layer.units[-2:]]
    if None in factors:
        return None
    height, width = (abs(s) * f for s, f in zip(layer.scale[-2:], factors, strict=True))
    if not np.isclose(height, width, rtol=1e-6):
        raise InputError(
            f"the pixels of '{layer.name}' are {height:g} x {width:g} nm, not square",
            "Correct the scale of the layer, or resample the stack to square pixels",
            field="stack",
        )
    return float(f"{width:.9g}")


def nm_per(unit: Any) -> float | None:
    """Return the nm in one `unit` of a layer; None if it is no length."""
    quantity = 1.0 * unit
    return quantity.to("nm").magnitude if quantity.check("[length]") else None


def acquisition_of(layer: Layer) -> Recipe | None:
    """Return the settings a simulated stack was made with, or None for any other layer."""
    known = layer.metadata.get(METADATA_KEY)
    if not isinstance(known, dict) or "recipe" not in known:
        return None
    try:
        return Recipe.model_validate(known["recipe"])
    except ValidationError:
        return None  # from another version, or edited by hand


def apply_pixel_size(layer: Layer, pixel_size: float) -> None:
    """Give a layer the pixel size `pixel_size` in nm, keeping its frame axis as it is.

    The translation of a layer without unit counts pixels, and is converted with it; one that is
    in nm, or another length, already stays where it is.
    """
    scale, translate = np.array(layer.scale), np.array(layer.translate)
    factors = [nm_per(unit) for unit in layer.units[-2:]]
    for axis, factor in zip((-2, -1), factors, strict=True):
        in_nm = pixel_size / scale[axis] if factor is None else factor
        translate[axis] *= in_nm
    scale[-2:] = pixel_size
    layer.scale, layer.translate = scale, translate
    layer.units = (*(str(unit) for unit in layer.units[:-2]), "nm", "nm")


def reconstruction_layer(result: Reconstruction, placement: Placement) -> LayerData:
    """Layer data of the super-resolved image, exactly over the stack it came from."""
    return image_layer(
        result.image,
        result.upsampling,
        placement,
        name=f"{placement.name} unfolded",
        metadata={METADATA_KEY: result.record},
    )


def image_layer(
    image: np.ndarray, upsampling: float, placement: Placement, **keywords: Any
) -> LayerData:
    """Layer data of an image ``(qY, qX)`` that begins at the corner of the frames of a stack."""
    fine = [fine_scale_and_translate(step, 0.0, upsampling) for step in placement.scale]
    offset = np.array([0.0, fine[1][1], fine[2][1]])
    style = {
        "scale": (fine[1][0], fine[2][0]),
        "translate": placement.moved(offset)[1:],
        "contrast_limits": robust_limits(image),
        "colormap": "inferno",
        "interpolation2d": "nearest",
    }
    return image, {**style, **placement.keywords(2), **keywords}, "image"


def robust_limits(image: np.ndarray) -> tuple[float, float]:
    """Contrast limits that a few very bright pixels, or many empty ones, do not spoil."""
    positive = image[image > 0]
    if positive.size == 0:
        return 0.0, 1.0
    return 0.0, float(np.percentile(positive, 99.0))


def localization_layer(result: Reconstruction, placement: Placement) -> LayerData:
    """Layer data of the localizations, one point each, with the table as its features."""
    return points_layer(
        result.localizations,
        placement,
        result.pixel_size_nm,
        name=f"{placement.name} localizations",
        metadata={METADATA_KEY: result.record},
    )


def molecule_layers(result: Reconstruction, placement: Placement) -> list[LayerData]:
    """Layer data of the molecules that were followed in time, hidden; none if none were."""
    molecules = result.molecules
    if molecules is None:
        return []
    return [
        points_layer(
            molecules,
            placement,
            result.pixel_size_nm,
            name=f"{placement.name} molecules",
            metadata={METADATA_KEY: result.record},
            visible=False,
        )
    ]


def points_layer(
    table: pd.DataFrame, placement: Placement, pixel_size: float, **keywords: Any
) -> LayerData:
    """Layer data of a localization table over the stack at `placement`.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``frame, x_nm, y_nm`` and any others; nm from the outer corner, frames from 0.
    placement : Placement
    pixel_size : float
        Camera pixel in nm for which the positions hold.
    **keywords
        Passed on to the layer (``name``, ``metadata``, ``visible`` ...).
    """
    units_per_nm = placement.scale[1:] / pixel_size
    data = np.column_stack(
        [table["frame"], table["y_nm"] * units_per_nm[0], table["x_nm"] * units_per_nm[1]]
    ).reshape(-1, 3)
    half_pixel = np.array([0.0, *(-0.5 * placement.scale[1:])])
    metadata = keywords.pop("metadata", {})
    ours = {**metadata.get(METADATA_KEY, {}), "nm_per_unit_yx": (1 / units_per_nm).tolist()}
    layer = {
        "scale": (placement.scale[0], 1.0, 1.0),
        "translate": placement.moved(half_pixel),
        "features": table.reset_index(drop=True),
        "size": POINT_SIZE_PIXELS * abs(float(placement.scale[2])),
        "ndim": 3,
        "metadata": {**metadata, METADATA_KEY: ours},
        **POINT_STYLE,
    }
    return data, {**layer, **placement.keywords(3), **keywords}, "points"


def table_of_points(data: np.ndarray, meta: dict[str, Any]) -> pd.DataFrame:
    """Localization table of a Points layer: positions from its data, the rest from its features.

    A layer of this plugin counts from the outer corner of its stack. In any other layer the
    world coordinates are taken as they are, which needs a length unit.

    Parameters
    ----------
    data : numpy.ndarray, shape (N, 2) or (N, 3)
        ``([frame,] y, x)``.
    meta : dict
        The layer's metadata as napari gives it to writers.

    Raises
    ------
    InputError
        If the layer has no pixel size.
    """
    import pandas as pd

    data = np.asarray(data, dtype=float).reshape(len(data), -1)
    ours = meta.get("metadata", {}).get(METADATA_KEY, {})
    if "nm_per_unit_yx" in ours:
        yx_nm = data[:, -2:] * np.asarray(ours["nm_per_unit_yx"])
    else:
        yx_nm = _world_nm(data, meta)
    table = pd.DataFrame(meta.get("features")).reset_index(drop=True)
    frames = data[:, -3] if data.shape[1] > 2 else table.get("frame", np.zeros(len(data)))
    positions = pd.DataFrame(
        {
            "frame": np.rint(np.asarray(frames, dtype=float)).astype(np.int64),
            "x_nm": yx_nm[:, 1],
            "y_nm": yx_nm[:, 0],
        }
    )
    others = [column for column in table.columns if column not in positions.columns]
    return pd.concat([positions, table[others]], axis=1)


def _world_nm(data: np.ndarray, meta: dict[str, Any]) -> np.ndarray:
    from pint import Unit

    units = [Unit(str(unit)) for unit in meta.get("units") or ("pixel",) * 2]
    factors = [nm_per(unit) for unit in units[-2:]]
    if None in factors:
        raise InputError(
            f"the points '{meta.get('name', '')}' are in pixels of unknown size",
            "Give the layer a scale in nm (layer.scale, layer.units), then save again",
            field="stack",
        )
    scale = np.asarray(meta.get("scale", (1.0, 1.0)))[-2:]
    translate = np.asarray(meta.get("translate", (0.0, 0.0)))[-2:]
    world: np.ndarray = (data[:, -2:] * scale + translate) * np.asarray(factors, dtype=float)
    return world


def show_frames_around(viewer: ViewerModel, frames: float) -> None:
    """Show the points of this many frames before and after the current one.

    Images keep showing the current frame only: averaging a whole stack at every step of the
    slider is not what this is for.
    """
    from napari.layers import Image

    if viewer.dims.ndim < 3:
        return
    for layer in viewer.layers:
        if frames and isinstance(layer, Image):
            layer.projection_mode = "none"
    margins = list(viewer.dims.margin_left)
    margins[-3] = frames
    viewer.dims.margin_left = tuple(margins)
    viewer.dims.margin_right = tuple(margins)


def go_to_frames(viewer: ViewerModel, frames: slice, placement: Placement) -> None:
    """Move the slider to the first of `frames` if it stands at none of them."""
    if viewer.dims.ndim < 3:
        return
    axis = viewer.dims.ndim - 3
    now = (viewer.dims.point[axis] - placement.translate[0]) / placement.scale[0]
    if not frames.start <= round(now) < frames.stop:
        world = placement.translate[0] + placement.scale[0] * frames.start
        viewer.dims.set_point(axis, world)


def stack_of_layer(layer: Image, pixel_size: float | None = None) -> Stack:
    """Return the frames of an image layer; of a pyramid, its finest level.

    Raises
    ------
    InputError
        If the layer holds no stack of monochrome frames ``(T, Y, X)``.
    """
    from napari_unfold.files import stacks

    data = layer.data[0] if layer.multiscale else layer.data
    if layer.rgb:
        raise stacks.colour_error(layer.name)
    if data.ndim < 3:  # whose layer has no axis for the frames of the localizations
        raise stacks.stack_error(
            f"'{layer.name}' is a single 2-D image, a stack is needed",
            "Choose a stack with the axes (frame, y, x); one frame will do",
        )
    # napari aligns axes at the right: only the third from there can be time for the points too
    if data.ndim > 3 and any(length != 1 for length in data.shape[:-3]):
        raise stacks.ambiguous_error(layer.name, data.shape)
    stack = stacks.as_stack(data[(0,) * max(data.ndim - 3, 0)], layer.name, pixel_size)
    if layer.source.path is not None:
        stack.files = (Path(layer.source.path),)
    return stack
