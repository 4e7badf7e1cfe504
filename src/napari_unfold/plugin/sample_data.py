"""Simulated stacks for *File > Open Sample*: something to try at once, with the truth beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_unfold.plugin.layers import LayerData, Placement
    from napari_unfold.simulation.scenes import Simulation

TRUTH_COLOR = "#7dff7a"


def dense_filaments() -> list[LayerData]:
    """Filaments carrying so many molecules at a time that their images overlap."""
    return _simulated("filaments", "Dense filaments", density_per_um2=4.0, seed=7)


def dense_random_molecules() -> list[LayerData]:
    """Molecules anywhere, six to the square micrometre."""
    return _simulated("random", "Dense random molecules", density_per_um2=6.0, seed=11)


def simulation_layers(simulation: Simulation, title: str) -> list[LayerData]:
    """Layer data of a simulated stack, in nm, and of its true molecules, hidden."""
    import numpy as np

    from napari_unfold.plugin.layers import METADATA_KEY, points_layer

    pixel_size = simulation.recipe.optics.pixel_size_nm
    placement = simulation_placement(title, pixel_size)
    stack = {
        "name": title,
        "scale": placement.scale,
        "contrast_limits": np.percentile(simulation.stack, (0.1, 99.9)).tolist(),
        "metadata": {METADATA_KEY: {"recipe": simulation.recipe.model_dump(mode="json")}},
        **placement.keywords(3),
    }
    truth = points_layer(
        simulation.truth,
        placement,
        pixel_size,
        name=f"{title} truth",
        visible=False,
        face_color=TRUTH_COLOR,
        border_color=TRUTH_COLOR,
    )
    return [(simulation.stack, stack, "image"), truth]


def simulation_placement(title: str, pixel_size_nm: float) -> Placement:
    """Place a simulated stack with the centre of its first pixel at the origin, in nm."""
    import numpy as np

    from napari_unfold.plugin.layers import Placement

    return Placement(
        name=title,
        scale=np.array([1.0, pixel_size_nm, pixel_size_nm]),
        translate=np.zeros(3),
        rotate=np.eye(3),
        shear=np.eye(3),
        affine=np.eye(4),
        units=("pixel", "nm", "nm"),
    )


def _simulated(scene: Any, title: str, density_per_um2: float, seed: int) -> list[LayerData]:
    from napari_unfold.simulation.scenes import simulate

    simulation = simulate(scene, frames=60, density_per_um2=density_per_um2, seed=seed)
    return simulation_layers(simulation, title)
