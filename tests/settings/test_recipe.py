"""Settings: what is refused, and in which words."""

import pytest
from pydantic import ValidationError

from napari_unfold.settings.explain import explain
from napari_unfold.settings.microscope import Background, Camera, Optics
from napari_unfold.settings.recipe import Recipe, Solver


def refused(section, **values):
    with pytest.raises(ValidationError) as error:
        section(**values)
    return explain(error.value, section)


def test_every_setting_has_a_title_an_explanation_and_its_unit():
    for name, section in Recipe.model_fields.items():
        for field, info in section.annotation.model_fields.items():
            assert info.title, (name, field)
            assert info.description.endswith("."), (name, field)
            if field.endswith("_nm"):
                assert info.json_schema_extra["unit"] == "nm"


def test_a_recipe_survives_json():
    recipe = Recipe(
        optics=Optics(pixel_size_nm=65.3, psf_sigma_nm=111.1),
        camera=Camera(offset_adu=398.6),
        background=Background(photons=12.5),
    )
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_fwhm_and_sigma():
    assert Optics(psf_sigma_nm=109.65).psf_fwhm_nm == pytest.approx(258.2, abs=0.05)
    assert Optics().psf_fwhm_nm is None


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        (Optics, {"pixel_size_nm": -5}, ["Pixel size (nm)", "-5", "greater than or equal to 1"]),
        (Optics, {"pixel_size_nm": 100, "psf_sigma_nm": 5}, ["5 nm", "100 nm", "units"]),
        (Camera, {"adu_per_photon": 0}, ["Gain (ADU/photon)", "greater than or equal to 0.001"]),
        (Camera, {"offset_adu": float("nan")}, ["Offset (ADU)", "finite"]),
        (Camera, {"gain": 2}, ["'gain' is not a known setting"]),
        (Background, {"photons": -1.0}, ["background of -1 photons", "'auto'"]),
        (Solver, {"molecule_photons": 0.0}, ["0 photons per molecule"]),
    ],
)
def test_errors_name_the_setting_its_unit_and_the_remedy(section, values, words):
    path = {Optics: "optics", Camera: "camera", Background: "background", Solver: "solver"}
    error = refused(Recipe, **{path[section]: values})
    for word in words:
        assert word in str(error)
    assert "Traceback" not in str(error)


def test_the_field_of_an_error_is_its_path():
    assert refused(Recipe, camera={"adu_per_photon": 0}).field == "camera.adu_per_photon"
    assert refused(Recipe, optics={"psf_sigma_nm": 5}).field == "optics"
