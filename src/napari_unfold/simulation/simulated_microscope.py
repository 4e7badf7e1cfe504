"""The microscope that is simulated where nothing else is stated: the only numbers we make up."""

from __future__ import annotations

from napari_unfold.imaging.camera import CameraModel
from napari_unfold.settings.microscope import Camera, Optics
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.simulation import Sample

SIGMA_NM = 110.0
MOLECULE_PHOTONS, BACKGROUND_PHOTONS = Sample().molecule_photons, Sample().background_photons
EMCCD = CameraModel(offset_adu=100.0, adu_per_photon=2.0, excess_noise=2.0, read_noise_photons=0.0)
SCMOS = CameraModel(offset_adu=100.0, adu_per_photon=2.0, excess_noise=1.0, read_noise_photons=1.5)
MICROSCOPE = Recipe(
    optics=Optics(pixel_size_nm=100.0, psf_sigma_nm=SIGMA_NM),
    camera=EMCCD.settings(Camera(type="emccd")),
)
SCMOS_MICROSCOPE = Recipe(optics=MICROSCOPE.optics, camera=SCMOS.settings(Camera(type="scmos")))


def completed(recipe: Recipe) -> Recipe:
    """Return `recipe` with the PSF and the camera as simulated, as far as it leaves them open.

    The excess noise follows from the type of the camera where that is stated.

    Raises
    ------
    InputError
        If the camera is of another type and its excess noise is missing.
    """
    stated = recipe.camera.model_dump(exclude_none=True)
    usual = MICROSCOPE.camera.model_dump()
    if stated.keys() & {"type", "excess_noise"}:
        del usual["type"], usual["excess_noise"]
    camera = Camera.model_validate(usual | stated)
    optics = recipe.optics
    if optics.psf_sigma_nm is None:
        optics = optics.model_copy(update={"psf_sigma_nm": SIGMA_NM})
    return recipe.model_copy(
        update={"camera": CameraModel.of(camera).settings(camera), "optics": optics}
    )
