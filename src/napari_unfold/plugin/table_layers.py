"""New layers made from the localizations of a Points layer, each in the place of its source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unfold.errors import InputError
from napari_unfold.plugin.layers import (
    METADATA_KEY,
    LayerData,
    Placement,
    image_layer,
    nm_per,
    points_layer,
    table_of_points,
)

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Points

    from napari_unfold.tables.render import RenderedImage

_HISTORY = "history"


@dataclass(frozen=True)
class Source:
    """What new layers take over from the Points layer they were made from.

    Attributes
    ----------
    name : str
    count : int
        Number of localizations.
    placement : Placement
        Of pixels of 1 nm, the corner of the first of which is the origin of the table.
    size : float
        Of the points, in units of the layer.
    record : dict
        How the localizations came about.
    """

    name: str
    count: int
    placement: Placement
    size: float
    record: dict[str, Any]

    @classmethod
    def of(cls, layer: Points) -> Source:
        """Take over what is needed of a layer, which may then be deleted."""
        sizes = np.asarray(layer.size, dtype=float)
        record = layer.metadata.get(METADATA_KEY, {})
        return cls(
            name=layer.name,
            count=len(layer.data),
            placement=_placement(layer, record.get("nm_per_unit_yx")),
            size=float(np.median(sizes)) if sizes.size else 10.0,
            record=record,
        )

    def points(self, table: pd.DataFrame, title: str, step: dict[str, Any]) -> LayerData:
        """Layer data of new localizations.

        Parameters
        ----------
        table : DataFrame
        title : str
            What they are, appended to the name of the source.
        step : dict
            What was done, for the metadata; plain values only.
        """
        return points_layer(
            table,
            self.placement,
            1.0,
            name=f"{self.name} {title}",
            size=self.size,
            metadata={METADATA_KEY: self._extended(step)},
        )

    def image(self, rendered: RenderedImage, title: str, step: dict[str, Any]) -> LayerData:
        """Layer data of a rendered image."""
        return image_layer(
            rendered.image,
            1.0 / rendered.pixel_size_nm,
            self.placement,
            name=f"{self.name} {title}",
            metadata={METADATA_KEY: self._extended(step)},
            blending="additive",
        )

    def _extended(self, step: dict[str, Any]) -> dict[str, Any]:
        return {**self.record, _HISTORY: [*self.record.get(_HISTORY, []), step]}


def table_of_layer(layer: Points) -> pd.DataFrame:
    """Return the localizations of a Points layer.

    Raises
    ------
    InputError
        If there are none, or the layer has no pixel size.
    """
    if len(layer.data) == 0:
        raise InputError(f"'{layer.name}' holds no localizations", "Choose another layer")
    try:
        return table_of_points(*layer.as_layer_data_tuple()[:2])
    except InputError as error:
        raise InputError(error.problem, "Give the layer a scale in nm") from error


def _placement(layer: Points, nm_per_unit_yx: list[float] | None) -> Placement:
    if nm_per_unit_yx is None or layer.ndim < 3:
        return _in_the_world(layer)
    placement = Placement.of(layer)
    step = placement.scale / np.array([1.0, *nm_per_unit_yx])
    of_pixels = replace(placement, scale=step)
    # the layer begins at the corner of the first pixel, a placement at its centre
    return replace(of_pixels, translate=of_pixels.moved(step * (0.0, 0.5, 0.5)))


def _in_the_world(layer: Points) -> Placement:
    """Return the placement of points that are not of this plugin, as seen from the world."""
    unit_y, unit_x = layer.units[-2:]
    step = np.array([1.0, *(1.0 / (nm_per(unit) or 1.0) for unit in (unit_y, unit_x))])
    return Placement(
        name=layer.name,
        scale=step,
        translate=step * (0.0, 0.5, 0.5),
        rotate=np.eye(3),
        shear=np.eye(3),
        affine=np.eye(4),
        units=("pixel", str(unit_y), str(unit_x)),
    )
