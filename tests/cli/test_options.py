"""Options are made from the settings: each has one, and what is stated arrives as it is meant."""

import pytest
import typer

import napari_unfold.settings.fluctuation
import napari_unfold.settings.tables
import napari_unfold.settings.training  # noqa: F401
from napari_unfold.cli import app
from napari_unfold.cli.options import SECTIONS, Stated, flag_of, flags_of
from napari_unfold.errors import InputError
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.section import Said, Section
from napari_unfold.settings.tables import Linking

FIELDS = [(s, n) for s, model in SECTIONS.items() for n in model.model_fields]


@pytest.fixture(scope="module")
def flags() -> set[str]:
    """Return the options of all commands."""
    commands = typer.main.get_command(app).commands.values()
    return {flag for command in commands for option in command.params for flag in option.opts}


def test_every_model_of_the_settings_is_a_section() -> None:
    models = {m for m in Section.__subclasses__() if m.__module__.startswith("napari_unfold.set")}
    assert models - {Recipe} == set(SECTIONS.values())


@pytest.mark.parametrize(("section", "name"), FIELDS)
def test_every_setting_has_an_option(flags, section, name) -> None:
    field = SECTIONS[section].model_fields[name]
    expected = {*flags_of(name, field)}
    expected |= {f"--{other.replace('_', '-')}" for other in Said.of(field).also}
    assert expected <= flags
    assert flags_of(name, field)[0] in flag_of(f"{section}.{name}")


def test_the_option_of_an_error_that_is_no_setting() -> None:
    assert flag_of("preset") == "--preset"
    assert flag_of("stack") == flag_of(None) == flag_of("optics") == ""


def test_what_is_stated_goes_before_what_is_known_and_that_before_what_is_usual() -> None:
    usual = {"solver": {"iterations": 100, "upsampling": 2, "penalty": "l1"}}
    stated = Stated({"solver": {"iterations": 50}}, usual)
    solver = stated.recipe({"solver": {"iterations": 75, "upsampling": 8}}).solver
    assert (solver.iterations, solver.upsampling, solver.penalty) == (50, 8, "l1")
    # what a file does not know is left to the model
    assert stated.recipe({"optics": {"pixel_size_nm": None}}) == stated.recipe()


def test_the_width_of_the_psf_may_be_stated_as_fwhm() -> None:
    usual = {"optics": {"psf_sigma_nm": 90.0}}
    recipe = Stated({"optics": {"psf_fwhm_nm": 235.48}}, usual).recipe()
    assert recipe.optics.psf_sigma_nm == pytest.approx(100, rel=1e-4)
    with pytest.raises(InputError, match="given twice"):
        Stated({"optics": {"psf_fwhm_nm": 258, "psf_sigma_nm": 110}}, {}).recipe()


def test_a_radius_may_be_stated_with_its_unit() -> None:
    linking = Stated({"linking": {"radius_uncertainties": 3}}, {}).section(Linking)
    assert (linking.radius, linking.radius_unit) == (3, "uncertainty")
    assert Stated({"linking": {"radius_nm": 3}}, {}).section(Linking).radius_unit == "nm"
    with pytest.raises(InputError, match="given twice"):
        Stated({"linking": {"radius_nm": 3, "radius_uncertainties": 3}}, {}).section(Linking)
