"""Simulated stacks for *File > Open Sample*: something to try at once, with the truth beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_unfold.plugin.layers import LayerData, Placement
    from napari_unfold.simulation.scenes import Simulation

TRUTH_COLOR = "#7dff7a"


def dense_filaments() -> list[LayerData]:
    """Filaments carrying so many molecules at a time that their images overlap."""
    return _simulated("Dense filaments", density_per_um2=4.0, seed=7)


def dense_random_molecules() -> list[LayerData]:
    """Molecules anywhere, six to the square micrometre."""
    return _simulated("Dense random molecules", scene="random", density_per_um2=6.0, seed=11)


def blinking_filaments() -> list[LayerData]:
    """Molecules of uneven brightness that stay on for some frames, begin and end within one."""
    return _simulated("Blinking filaments", seed=13, density_per_um2=2.0, **_BLINKING)


def lit_cells() -> list[LayerData]:
    """Molecules over cells whose light is six times that around them, and fades."""
    return _simulated(
        "Lit cells",
        seed=17,
        density_per_um2=1.0,
        background="cells",
        background_contrast=6.0,
        background_bleaching_frames=200.0,
        **_BLINKING,
    )


def scmos_camera() -> list[LayerData]:
    """Molecules seen by a camera whose pixels differ; 3 % of them are hot."""
    return _simulated(
        "sCMOS camera",
        {"gain_spread": 0.03, "offset_spread_adu": 2.0, "hot_pixels": 0.03},
        seed=19,
        density_per_um2=1.5,
        **_BLINKING,
    )


_BLINKING: dict[str, Any] = {"on_frames": 4.0, "brightness": "log-normal", "brightness_spread": 0.4}


def simulation_layers(simulation: Simulation, title: str) -> list[LayerData]:
    """Layer data of a simulated stack, in nm, and of its true molecules, hidden."""
    import numpy as np

    from napari_unfold.plugin.layers import METADATA_KEY, points_layer

    pixel_size = simulation.recipe.optics.pixel_size_nm
    placement = simulation_placement(title, pixel_size)
    how_it_was_made = {
        "recipe": simulation.recipe.model_dump(mode="json"),
        "sample": simulation.sample.model_dump(mode="json"),
        "instrument": simulation.instrument.model_dump(mode="json"),
    }
    stack = {
        "name": title,
        "scale": placement.scale,
        "contrast_limits": np.percentile(simulation.stack, (0.1, 99.9)).tolist(),
        "metadata": {METADATA_KEY: how_it_was_made},
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


def _simulated(
    title: str, instrument: dict[str, float] | None = None, **sample: Any
) -> list[LayerData]:
    from napari_unfold.settings.simulation import Instrument, Sample
    from napari_unfold.simulation.scenes import acquire
    from napari_unfold.simulation.simulated_microscope import SCMOS_MICROSCOPE

    simulation = acquire(
        Sample.model_validate({"frames": 60, **sample}),
        Instrument.model_validate(instrument or {}),
        recipe=SCMOS_MICROSCOPE if instrument else None,
    )
    return simulation_layers(simulation, title)
