"""The command doctor, as a user types it."""

from __future__ import annotations

import json
import sys

import pytest

from napari_unfold.cli import main
from napari_unfold.reconstruction import examine as module


@pytest.mark.slow
def test_the_command(run_cli, monkeypatch) -> None:
    monkeypatch.setattr(module, "_plugin", lambda: module.Finding("plugin", "registered"))
    said = run_cli("doctor")
    for name in ("Python", "memory", "device", "test"):
        assert any(line.startswith(name) for line in said.splitlines())
    assert {"name", "value", "problem"} == {*json.loads(run_cli("doctor", "--json"))[0]}


def test_an_installation_that_is_not_sound_ends_with_status_1(monkeypatch, capsys) -> None:
    def sick(_: str):
        yield from ()
        return [module.Finding("memory", "0 GB free", "less than 1 GB is free")]

    monkeypatch.setattr(module, "examine", sick)
    monkeypatch.setattr(sys, "argv", ["napari-unfold", "doctor"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert "PROBLEM: less than 1 GB is free." in capsys.readouterr().out
