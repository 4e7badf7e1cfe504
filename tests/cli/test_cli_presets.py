"""The user's own presets are theirs to rename and delete; the shipped ones stay as they are."""

import json
from pathlib import Path

import pytest

from napari_unfold.files import presets
from napari_unfold.files.presets import DEFAULT_PRESET, load_preset


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch) -> Path:
    """Keep the presets of these tests in a folder of theirs."""
    monkeypatch.setattr(presets, "user_preset_folder", lambda: tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def mine(tmp_path: Path, run_cli) -> Path:
    """Export a shipped preset, to be imported under another name."""
    run_cli("presets", "export", DEFAULT_PRESET, tmp_path / "a.json")
    return tmp_path / "a.json"


def content(name: str | Path) -> dict[str, object]:
    """Return what a preset holds, its name and title apart."""
    return load_preset(name).model_dump(exclude={"name", "title"})


def test_an_exported_preset_is_the_same(mine):
    assert load_preset(mine) == load_preset(DEFAULT_PRESET)


def test_a_preset_is_imported_renamed_and_deleted(mine, own, run_cli):
    run_cli("presets", "import", mine, "--name", "tirf", "--title", "Our TIRF")
    assert content("tirf") == content(DEFAULT_PRESET)
    listed = run_cli("presets", "list")
    assert [line.split()[0] for line in listed.splitlines() if "your own" in line] == ["tirf"]
    run_cli("presets", "rename", "tirf", "tirf-2026")
    assert [path.name for path in own.iterdir()] == ["tirf-2026.json"]
    assert load_preset("tirf-2026").title == "Our TIRF"
    assert content("tirf-2026") == content(DEFAULT_PRESET)
    run_cli("presets", "rename", "tirf-2026", "tirf-2026", "--title", "Ours")
    assert load_preset("tirf-2026").title == "Ours"
    run_cli("presets", "delete", "tirf-2026")
    assert not list(own.iterdir())


def test_no_name_changes_its_meaning(mine, own, refused, run_cli):
    assert "already" in refused("presets", "import", mine)
    taken = refused("presets", "import", mine, "--name", "a", "--title", load_preset(mine).title)
    assert "already" in taken
    run_cli("presets", "import", mine, "--name", "a", "--title", "A")
    run_cli("presets", "import", mine, "--name", "b", "--title", "B")
    assert "already" in refused("presets", "rename", "a", "b")
    assert "already" in refused("presets", "rename", "a", DEFAULT_PRESET)
    assert "cannot be the name" in refused("presets", "rename", "a", "A b")
    (own / "c.json").write_text("{}")
    assert "there is another file" in refused("presets", "rename", "a", "c")
    assert json.loads((own / "c.json").read_text()) == {}
    assert load_preset("a").title == "A"


@pytest.mark.parametrize("command", [("delete",), ("rename", "mine")])
def test_shipped_presets_stay(refused, command):
    first, *rest = command
    assert "none of your own" in refused("presets", first, DEFAULT_PRESET, *rest)
    assert "there is no preset" in refused("presets", first, "lost", *rest)
    assert load_preset(DEFAULT_PRESET).name == DEFAULT_PRESET
