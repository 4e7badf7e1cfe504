"""The user's presets are imported, exported, renamed and deleted where they are chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_unfold.files.presets import DEFAULT_PRESET, list_presets, load_preset, save_preset
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.plugin.forms.preset_files import PresetFiles

DOCK = ReconstructWidget


@pytest.fixture
def files(widget) -> PresetFiles:
    """Return the part of the form, with a shipped preset chosen."""
    widget.form.preset_row.editor.set_value(DEFAULT_PRESET)
    return widget.form.preset_files


def imported(files: PresetFiles, path: Path, name: str, title: str) -> None:
    files.import_from(path)
    files.dialog.title_edit.setText(title)
    files.dialog.name_edit.setText(name)
    files.dialog.accept()


def test_a_preset_goes_to_a_file_and_comes_back_under_another_name(
    widget, files, tmp_path: Path
) -> None:
    files.export_to(tmp_path / "a.json")
    assert load_preset(tmp_path / "a.json") == load_preset(DEFAULT_PRESET)
    imported(files, tmp_path / "a.json", "tirf", "Our TIRF")
    assert files.dialog.isHidden()
    assert widget.form.preset().title == "Our TIRF"
    assert widget.form.preset().networks == load_preset(DEFAULT_PRESET).networks


def test_one_that_would_shadow_a_shipped_one_is_refused_where_its_name_is_asked(
    files, tmp_path: Path
) -> None:
    save_preset(load_preset(DEFAULT_PRESET), tmp_path / "a.json")
    files.import_from(tmp_path / "a.json")
    files.dialog.accept()
    assert "already" in files.dialog.error.text()
    files.dialog.reject()
    (tmp_path / "b.json").write_text("[]")
    files.import_from(tmp_path / "b.json")
    assert "is not a preset" in files.error.text()
    assert not (tmp_path / "presets").exists()


def test_own_presets_are_renamed_and_deleted(widget, files, tmp_path: Path) -> None:
    save_preset(load_preset(DEFAULT_PRESET), tmp_path / "a.json")
    imported(files, tmp_path / "a.json", "tirf", "Our TIRF")
    files.rename()
    files.dialog.title_edit.setText("Our TIRF, 2026")
    files.dialog.accept()
    assert widget.form.preset().title == "Our TIRF, 2026"
    files.delete()
    assert widget.form.preset().name == DEFAULT_PRESET
    assert "tirf" not in [preset.name for preset in list_presets()]


def test_shipped_presets_can_only_be_exported(files) -> None:
    files.refresh()
    actions = (files.export_action, files.rename_action, files.delete_action)
    assert [action.isEnabled() for action in actions] == [True, False, False]
    files.delete()
    assert "is none of your own" in files.error.text()
