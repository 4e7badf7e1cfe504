"""Results lie exactly over the stack they came from, whatever the stack's place and unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from napari.layers import Image, Layer, Points

from napari_unfold.errors import InputError
from napari_unfold.plugin.layers import (
    Placement,
    apply_pixel_size,
    localization_layer,
    nm_per,
    pixel_size_nm,
    points_layer,
    reconstruction_layer,
    robust_limits,
    stack_of_layer,
    table_of_points,
)

from .results import reconstruction

PLACES = {
    "pixels": {},
    "pixels, moved": {"translate": (0, 12, -7)},
    "nm": {"scale": (1, 100, 100), "units": ("pixel", "nm", "nm")},
    "nm, moved": {
        "scale": (1, 100, 100),
        "translate": (0, 1234.5, -77),
        "units": ("pixel", "nm", "nm"),
    },
    "µm, moved": {
        "scale": (0.02, 0.1, 0.1),
        "translate": (1.5, 3.21, 4.5),
        "units": ("s", "µm", "µm"),
    },
    "nm, rotated and sheared": {
        "scale": (1, 100, 100),
        "translate": (0, 50, 60),
        "rotate": [[1, 0, 0], [0, 0.6, -0.8], [0, 0.8, 0.6]],
        "shear": (0, 0, 0.25),
        "units": ("pixel", "nm", "nm"),
    },
    "nm, with an affine": {
        "scale": (1, 100, 100),
        "translate": (0, 50, 60),
        "affine": [[1, 0, 0, 0], [0, 1.1, 0.2, 30], [0, -0.1, 0.9, -8], [0, 0, 0, 1]],
        "units": ("pixel", "nm", "nm"),
    },
}


@pytest.fixture(params=PLACES.values(), ids=PLACES.keys())
def stack(request: pytest.FixtureRequest) -> Image:
    return Image(np.zeros((5, 8, 10), np.uint16), name="stack", **request.param)


def world_yx(layer: Layer, y: float, x: float) -> np.ndarray:
    """World position in nm (if there is a length), of a point given in pixels of a layer.

    Integers are pixel centres.
    """
    index = (0.0, y, x) if layer.ndim == 3 else (y, x)
    return in_nm(layer, np.array(layer.data_to_world(index)))[-2:]


def in_nm(layer: Layer, world: np.ndarray) -> np.ndarray:
    factors = [nm_per(unit) or 1.0 for unit in layer.units[-2:]]
    return np.array([*world[:-2], *(world[-2:] * factors)])


@pytest.mark.parametrize("upsampling", [1, 2, 3, 4, 5])
def test_corners_of_reconstruction_and_stack_coincide(stack: Image, upsampling: int) -> None:
    data = reconstruction_layer(reconstruction(upsampling=upsampling), Placement.of(stack))
    fine = Layer.create(*data)
    for y, x in [(0, 0), (0, 10), (8, 0), (8, 10), (3, 7)]:
        coarse_corner = world_yx(stack, y - 0.5, x - 0.5)
        fine_corner = world_yx(fine, y * upsampling - 0.5, x * upsampling - 0.5)
        np.testing.assert_allclose(fine_corner, coarse_corner, rtol=0, atol=1e-9)


def test_a_molecule_lies_on_its_fine_pixel_and_on_its_camera_pixel(stack: Image) -> None:
    result, placement = reconstruction(), Placement.of(stack)
    image = Layer.create(*reconstruction_layer(result, placement))
    points = Layer.create(*localization_layer(result, placement))
    place = np.array(points.data_to_world(points.data[0]))
    # 212.5 nm is the centre of the fine pixel 8 of 25 nm; 437.5 nm that of 17
    np.testing.assert_allclose(place[-2:], world_yx(image, 17, 8), rtol=0, atol=1e-9)
    assert image.data[17, 8] == result.image.max()
    np.testing.assert_allclose(
        place,
        in_nm(stack, np.array(stack.data_to_world((2, 4.375 - 0.5, 2.125 - 0.5)))),
        rtol=0,
        atol=1e-9,
    )


def test_results_are_in_nm_whatever_length_the_stack_is_in(stack: Image) -> None:
    placement = Placement.of(stack)
    image = Layer.create(*reconstruction_layer(reconstruction(), placement))
    points = Layer.create(*localization_layer(reconstruction(), placement))
    unit = "pixel" if nm_per(stack.units[-1]) is None else "nanometer"
    assert [str(u) for u in image.units] == [unit, unit]
    assert [str(u) for u in points.units] == [str(stack.units[0]), unit, unit]
    assert image.blending == "additive"  # the stack below stays in view


def test_point_data_are_the_numbers_of_the_table_if_the_stack_is_in_nm() -> None:
    stack = Image(np.zeros((5, 8, 10)), scale=(1, 100, 100), units=("pixel", "nm", "nm"))
    data, meta, kind = localization_layer(reconstruction(), Placement.of(stack))
    assert kind == "points"
    np.testing.assert_allclose(data, [[2, 437.5, 212.5]], atol=1e-9)
    assert list(meta["features"].columns) == ["frame", "x_nm", "y_nm", "photons"]
    assert meta["metadata"]["napari_unfold"]["program"] == "test"


def test_table_of_points_is_the_table_again(stack: Image) -> None:
    table = reconstruction().localizations
    layer = Layer.create(*points_layer(table, Placement.of(stack), 100.0, name="p"))
    data, meta, _ = layer.as_layer_data_tuple()
    pd.testing.assert_frame_equal(table_of_points(data, meta), table, atol=1e-9)


def test_a_point_moved_by_hand_is_exported_where_it_is_now() -> None:
    stack = Image(np.zeros((5, 8, 10)), scale=(1, 100, 100), units=("pixel", "nm", "nm"))
    layer = Layer.create(*localization_layer(reconstruction(), Placement.of(stack)))
    layer.data = np.add(layer.data, (0, 10.0, 20.0))
    table = table_of_points(*layer.as_layer_data_tuple()[:2])
    np.testing.assert_allclose(table[["x_nm", "y_nm"]], [[232.5, 447.5]])


def test_a_layer_without_localizations_is_possible() -> None:
    result = reconstruction()
    result = replace(result, localizations=result.localizations.iloc[:0])
    stack = Image(np.zeros((5, 8, 10)), name="s")
    layer = Layer.create(*localization_layer(result, Placement.of(stack)))
    assert isinstance(layer, Points)
    assert layer.data.shape == (0, 3)


def test_points_of_another_origin_are_exported_in_world_coordinates() -> None:
    layer = Points([[1.0, 2.0, 3.0]], scale=(1, 0.1, 0.1), units=("pixel", "um", "um"))
    table = table_of_points(*layer.as_layer_data_tuple()[:2])
    np.testing.assert_allclose(table[["frame", "x_nm", "y_nm"]], [[1, 300.0, 200.0]])


def test_points_without_pixel_size_cannot_be_exported() -> None:
    with pytest.raises(InputError, match="unknown size"):
        table_of_points(*Points([[1.0, 2.0, 3.0]]).as_layer_data_tuple()[:2])


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, None),
        ({"scale": (1, 107, 107), "units": ("pixel", "nm", "nm")}, 107.0),
        ({"scale": (1, 0.1, 0.1), "units": ("s", "µm", "µm")}, 100.0),
        ({"scale": (1, 107, 107)}, None),
    ],
)
def test_pixel_size_is_known_only_from_a_length_unit(keywords, expected) -> None:
    assert pixel_size_nm(Image(np.zeros((2, 3, 4)), **keywords)) == expected


def test_pixels_that_are_not_square_are_refused() -> None:
    layer = Image(np.zeros((2, 3, 4)), scale=(1, 100, 120), units=("pixel", "nm", "nm"))
    with pytest.raises(InputError, match="not square"):
        pixel_size_nm(layer)


def test_applied_pixel_size_keeps_a_crop_in_its_place() -> None:
    layer = Image(np.zeros((2, 3, 4)), translate=(0, 5, 6))
    apply_pixel_size(layer, 110.0)
    assert pixel_size_nm(layer) == 110.0
    np.testing.assert_allclose(layer.translate, (0, 550, 660))
    apply_pixel_size(layer, 100.0)
    np.testing.assert_allclose(layer.translate, (0, 550, 660))


def test_contrast_is_not_spoilt_by_a_hot_pixel_nor_by_empty_ones() -> None:
    image = np.zeros((100, 100))
    image[:20, :20] = 5.0
    image[0, 0] = 1e6
    assert robust_limits(image) == (0.0, 5.0)
    assert robust_limits(np.zeros((4, 4))) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Image(np.zeros((8, 9))), "2-D"),
        (Image(np.zeros((4, 8, 9, 3), np.uint8), rgb=True), "colour"),
        (Image(np.zeros((2, 4, 8, 9))), "more than one axis"),
    ],
)
def test_layers_that_are_no_stack_are_refused(layer: Image, text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        stack_of_layer(layer)
    assert caught.value.field == "stack"


def test_stack_of_a_pyramid_is_its_finest_level() -> None:
    levels = [np.zeros((4, 16, 16)), np.zeros((4, 8, 8))]
    assert stack_of_layer(Image(levels, multiscale=True)).shape == (4, 16, 16)
