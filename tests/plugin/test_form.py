"""The form shows the settings model as it is and loses no digit of it."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from napari_unfold.cli.options import SECTIONS
from napari_unfold.files.presets import Preset
from napari_unfold.plugin.forms.fluctuation_form import FluctuationForm
from napari_unfold.plugin.forms.recipe_form import RecipeForm
from napari_unfold.plugin.forms.table_tasks import SettingsTask, all_tasks
from napari_unfold.plugin.forms.train_form import TrainForm
from napari_unfold.settings.microscope import Optics
from napari_unfold.settings.recipe import Recipe

from .conftest import READY, row_of

ODD = {
    "optics": {"pixel_size_nm": 106.667, "psf_sigma_nm": 113.23456789012},
    "camera": {
        "offset_adu": 398.6,
        "adu_per_photon": 0.0123456,
        "excess_noise": 1.0,
        "read_noise_photons": 1.6,
    },
    "background": {"photons": 0.037},
    "solver": {
        "fidelity": "kl",
        "penalty": "l1",
        "iterations": 1234,
        "upsampling": 7,
        "molecule_photons": 1234.5678,
    },
    "localization": {"min_photons_fraction": 0.0312, "merge_distance_nm": 17.25},
}


@pytest.fixture
def form(qtbot: QtBot) -> RecipeForm:
    form = RecipeForm([])
    qtbot.addWidget(form)
    return form


def fill(form: RecipeForm) -> None:
    form.set_value(READY)


def test_every_setting_has_a_row_in_a_form(form: RecipeForm, qtbot: QtBot) -> None:
    forms = [form, TrainForm(), FluctuationForm()]
    tasks = [task.form for task in all_tasks() if isinstance(task, SettingsTask)]
    for made in (*forms[1:], *tasks):
        qtbot.addWidget(made)
    keys = {row.key for made in (*forms, *tasks) for row in made.rows}
    settings = {f"{s}.{name}" for s, model in SECTIONS.items() for name in model.model_fields}
    # the PSF has three settings and one editor; what is simulated has no form, but samples
    elsewhere = ("optics.psf_", "sample.", "instrument.")
    assert {key for key in settings - keys if not key.startswith(elsewhere)} == set()


def test_the_camera_shows_its_type_first_and_excess_noise_only_if_that_does_not_tell_it(
    form: RecipeForm,
) -> None:
    rows = form.camera.rows
    assert [row.key for row in rows][:2] == ["camera.type", "camera.offset_adu"]
    assert row_of(form, "camera.adu_per_photon").editor.native.placeholderText() == "estimated"
    excess = row_of(form, "camera.excess_noise")
    for kind, hidden in (("other", False), ("scmos", True), ("emccd", True)):
        row_of(form, "camera.type").editor.set_value(kind)
        assert excess.editor.native.isHidden() == excess.label.isHidden() == hidden
    # settings of before know the number and not the type
    form.set_value(Recipe.model_validate(ODD))
    assert not excess.editor.native.isHidden()
    assert form.value().camera.known_excess_noise == 1


def test_the_type_of_the_camera_is_asked_for(form: RecipeForm) -> None:
    fill(form)
    for kind in ("ccd", None):
        row_of(form, "camera.type").editor.set_value(kind)
    assert [error.field for error in form.errors()] == ["camera.type"]
    row_of(form, "camera.type").editor.set_value("other")
    assert [error.field for error in form.errors()] == ["camera.excess_noise"]


def test_a_recipe_is_shown_and_read_back_digit_for_digit(form: RecipeForm) -> None:
    recipe = Recipe.model_validate(ODD)
    form.set_value(recipe)
    assert form.value() == recipe


def test_rows_have_the_title_and_the_unit_of_the_field(form: RecipeForm) -> None:
    row = row_of(form, "camera.adu_per_photon")
    assert row.label.text() == "Gain"
    assert row.unit.text() == "ADU/photon"
    assert "EM gain included" in row.editor.tooltip


def test_pixel_size_and_camera_must_be_given_and_the_psf_may_be_estimated(form: RecipeForm) -> None:
    missing = {error.field for error in form.errors()}
    assert missing == {"optics.pixel_size_nm", "camera.type"}
    fill(form)
    assert form.errors() == []


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("camera.adu_per_photon", "0", "greater than or equal to 0.001"),
        ("camera.excess_noise", "0", "greater than or equal to 1"),
        ("camera.offset_adu", "1,500", "'1,500' is not a number"),
        ("optics.pixel_size_nm", "-3", "greater than"),
    ],
)
def test_what_is_wrong_stands_beside_the_setting(
    form: RecipeForm, key: str, text: str, expected: str
) -> None:
    fill(form)
    row_of(form, key).editor.set_value(text)
    assert form.show_errors(form.errors()) == []
    assert expected in row_of(form, key).error.text()
    others = [row for row in form.rows if row.key != key]
    assert not any(row.error.text() for row in others)
    fill(form)
    form.show_errors(form.errors())
    assert row_of(form, key).error.isHidden()


def test_two_mistakes_are_shown_at_once(form: RecipeForm) -> None:
    fill(form)
    row_of(form, "camera.adu_per_photon").editor.set_value("0")
    row_of(form, "localization.merge_distance_nm").editor.set_value("x")
    assert len(form.errors()) == 2


def test_a_psf_that_does_not_fit_the_pixel_is_explained_at_the_psf(form: RecipeForm) -> None:
    fill(form)
    form.psf_row.editor.set_value(Optics(pixel_size_nm=1000, psf_sigma_nm=1000))
    row_of(form, "optics.pixel_size_nm").editor.set_value("10")
    form.show_errors(form.errors())
    assert "check both numbers and their units" in form.psf_row.error.text()


def test_presets_are_offered_for_their_fidelity_only(qtbot: QtBot) -> None:
    preset = Preset.model_construct(
        name="p",
        title="For filaments",
        description="Dense filaments.",
        trained_on="Simulated filaments.",
        scores=[],
        upsampling=2,
        networks={"gaussian": None},
        localization=Recipe().localization,
    )
    form = RecipeForm([preset])
    qtbot.addWidget(form)
    assert form.preset() is preset
    assert form.preset_text.text() == "Dense filaments."
    assert "Simulated filaments" in form.preset_text.toolTip()
    assert form.upsampling_row.editor.value == 2
    assert not row_of(form, "solver.iterations").editor.enabled
    form.fidelity_row.editor.set_value("kl")
    assert form.preset() is None
    assert row_of(form, "solver.iterations").editor.enabled
