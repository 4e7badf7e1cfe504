"""Presets: shipped ones, files that are not presets, versions."""

import json

import pytest

from napari_unfold.errors import InputError
from napari_unfold.files import presets
from napari_unfold.files.presets import (
    DEFAULT_PRESET,
    find_presets,
    list_presets,
    load_preset,
    save_preset,
)


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    """Keep the presets of whoever runs the tests out of them."""
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.setattr(presets, "user_preset_folder", lambda: folder)
    return folder


def test_shipped_presets_say_where_they_come_from_and_how_well_they_did():
    shipped = list_presets()
    assert DEFAULT_PRESET in {p.name for p in shipped}
    for preset in shipped:
        assert preset.trained_on
        assert preset.scores
        assert preset.title
        for fidelity, network in preset.networks.items():
            assert network.fidelity == fidelity


def test_a_preset_survives_its_file(tmp_path):
    preset = load_preset(DEFAULT_PRESET)
    save_preset(preset, tmp_path / "copy.json")
    assert load_preset(tmp_path / "copy.json") == preset


def test_presets_of_the_user_are_found_by_name_and_broken_files_do_not_matter(user_folder):
    mine = load_preset(DEFAULT_PRESET).model_copy(update={"name": "mine"})
    save_preset(mine, user_folder / "anything.json")
    (user_folder / "broken.json").write_text("{")
    assert load_preset("mine") == mine
    assert [p.name for p in list_presets()].count("mine") == 1


def test_version_one_can_be_read_for_ever(tmp_path):
    """A file as the first version wrote it; newer versions must go on reading it."""
    content = {
        "schema_version": 1, "name": "old", "title": "Old", "description": "", "trained_on": "x",
        "scores": [{"data": "a", "metric": "b", "value": 0.5}], "upsampling": 4,
        "networks": {
            "gaussian": {
                "fidelity": "gaussian", "step_sizes": [0.06, 0.05], "weight": 9.0,
                "sparsity_photons": 150.0, "l1_iterations": 1, "threshold_photons": 150.0,
                "projection_width_photons": 1.5,
                "reference": {
                    "molecule_photons": 1500.0, "background_photons": 20.0, "norm_squared": 15.9,
                    "point_energy": 0.062,
                },
            }
        },
        "localization": {
            "min_photons_fraction": 0.25, "split_brightness": 1.5, "merge_distance_nm": 30.0
        },
    }  # fmt: skip
    (tmp_path / "old.json").write_text(json.dumps(content))
    old = load_preset(tmp_path / "old.json")
    network = old.networks["gaussian"]
    assert network.step_sizes == [0.06, 0.05]
    assert network.penalty == "log-sum"
    assert network.penalty_parameters == {"bend_photons": 150.0}
    save_preset(old, tmp_path / "new.json")  # in today's version
    assert load_preset(tmp_path / "new.json") == old
    del content["networks"]["gaussian"]["sparsity_photons"]
    (tmp_path / "l1.json").write_text(json.dumps(content))
    assert load_preset(tmp_path / "l1.json").networks["gaussian"].penalty == "l1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1 is not valid JSON"),
        ("[1, 2]", "no network parameters"),
        ('{"a": 1}', "no network parameters"),
        ('{"networks": {}, "schema_version": 99}', "newer version"),
        ('{"networks": {}, "schema_version": 1}', "is not a preset"),
    ],
)
def test_what_is_not_a_preset_is_said_to_be_none(tmp_path, text, message):
    path = tmp_path / "some.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_preset(path)
    assert error.value.field == "preset"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"networks": ' + "[" * 100_000, "nested too deeply"),
        ('{"networks": ' + "9" * 5000 + "}", "a number of too many digits"),
        ("[" + " " * 2**22 + "]", "more than 4 MB"),
        (b"\xff\xfe", "not a text file"),
        ("{", "line 1 is not valid JSON"),
    ],
    ids=["deep", "digits", "large", "binary", "broken"],
)
def test_a_file_that_is_no_preset_is_left_out_and_said(user_folder, content, reason):
    path = user_folder / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (user_folder / "folder.json").mkdir()
    (user_folder / "nowhere.json").symlink_to("missing")
    found = find_presets()
    assert DEFAULT_PRESET in {preset.name for preset in found.presets}
    assert reason in found.left_out[path]
    assert {p.name for p in found.left_out} == {"a.json", "folder.json", "nowhere.json"}
    with pytest.raises(InputError, match=reason):
        load_preset(path)


def test_a_name_does_not_change_its_meaning(user_folder):
    """A file with the name of a shipped preset is left out and said; by its path it can be used."""
    shipped = load_preset(DEFAULT_PRESET)
    other = shipped.model_copy(update={"title": "Other"})
    save_preset(other, user_folder / "other.json")
    assert load_preset(DEFAULT_PRESET) == shipped
    (note,) = find_presets().left_out.values()
    assert f"has the name '{DEFAULT_PRESET}' of another preset" in note
    assert load_preset(user_folder / "other.json") == other


@pytest.mark.parametrize("name", ["n" * 300 + ".json", "n" * 300, "a\0.json", "/dev/zero"])
def test_names_that_no_preset_has(name):
    with pytest.raises(InputError) as error:
        load_preset(name)
    assert error.value.field == "preset"


def test_names_that_do_not_exist():
    with pytest.raises(InputError, match=f"no preset called 'sharp'.*{DEFAULT_PRESET}"):
        load_preset("sharp")
    with pytest.raises(InputError, match="cannot be read"):
        load_preset("nowhere/sharp.json")


def test_values_out_of_range_are_named(tmp_path):
    content = load_preset(DEFAULT_PRESET).model_dump(mode="json")
    content["networks"]["gaussian"]["weight"] = -1
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"networks.gaussian.weight: -1 is not usable"):
        load_preset(tmp_path / "bad.json")
