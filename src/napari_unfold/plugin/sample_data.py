"""Simulated stacks for *File > Open Sample*: something to try at once, with the truth beside."""

from __future__ import annotations

from typing import Any


def dense_filaments() -> list[Any]:
    """Filaments carrying so many molecules at a time that their images overlap."""
    return _simulated("filaments", "Dense filaments", density_per_um2=4.0, seed=7)


def dense_random_molecules() -> list[Any]:
    """Molecules anywhere, six to the square micrometre."""
    return _simulated("random", "Dense random molecules", density_per_um2=6.0, seed=11)


def _simulated(scene: Any, title: str, density_per_um2: float, seed: int) -> list[Any]:
    import numpy as np

    from napari_unfold.imaging.simulate import simulate
    from napari_unfold.plugin.layers import Placement, points_layer

    simulation = simulate(scene, frames=60, density_per_um2=density_per_um2, seed=seed)
    pixel_size = simulation.recipe.optics.pixel_size_nm
    placement = Placement(
        name=title,
        scale=np.array([1.0, pixel_size, pixel_size]),
        translate=np.zeros(3),
        rotate=np.eye(3),
        shear=np.eye(3),
        affine=np.eye(4),
        units=("pixel", "nm", "nm"),
    )
    stack = {
        "name": title,
        "scale": placement.scale,
        "contrast_limits": np.percentile(simulation.stack, (0.1, 99.9)).tolist(),
        "metadata": {"napari_unfold": {"recipe": simulation.recipe.model_dump(mode="json")}},
        **placement.keywords(3),
    }
    truth = points_layer(
        simulation.truth,
        placement,
        pixel_size,
        name=f"{title} truth",
        visible=False,
        face_color="#7dff7a",
        border_color="#7dff7a",
    )
    return [(simulation.stack, stack, "image"), truth]
