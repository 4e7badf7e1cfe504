"""Show the result of the command line's demo in napari."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_unfold.reconstruction.result import Reconstruction
    from napari_unfold.simulation.scenes import Simulation


def show(simulation: Simulation, reconstruction: Reconstruction) -> None:
    """Open napari with a simulated stack, its truth and its reconstruction; return at its end."""
    import napari

    viewer = napari.Viewer()
    add_to(viewer, simulation, reconstruction)
    viewer.window.add_plugin_dock_widget("napari-unfold", "Unfold: reconstruct")
    napari.run()


def add_to(viewer: ViewerModel, simulation: Simulation, reconstruction: Reconstruction) -> None:
    """Add a simulated stack, its truth and its reconstruction to a viewer."""
    from napari.layers import Layer

    from napari_unfold.plugin.layers import localization_layer, reconstruction_layer
    from napari_unfold.plugin.sample_data import simulation_layers, simulation_placement

    placement = simulation_placement("Demo", reconstruction.pixel_size_nm)
    for data in (
        *simulation_layers(simulation, "Demo"),
        reconstruction_layer(reconstruction, placement),
        localization_layer(reconstruction, placement),
    ):
        viewer.add_layer(Layer.create(*data))
