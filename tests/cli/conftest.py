"""One way to run a command: as a user types it, but in this process, which is far quicker."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout

import pytest

from napari_unfold.cli import main


@pytest.fixture(scope="session")
def run_cli() -> Callable[..., str]:
    """Return a function that runs ``napari-unfold`` with its arguments and returns what it says.

    It must end with the given exit status. What was asked for goes to stdout, notes and a refusal
    to stderr; a refusal, of status 2, leaves stdout empty. An error that is no sentence for the
    user is raised here.
    """

    def run(*arguments: object, status: int = 0) -> str:
        out, error = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["napari-unfold", *map(str, arguments)])
            patch.setenv("COLUMNS", "100")
            with redirect_stdout(out), redirect_stderr(error), pytest.raises(SystemExit) as stop:
                main()
        assert (stop.value.code or 0) == status, error.getvalue()
        told = [line for line in error.getvalue().splitlines(True) if line[:6] != "Note: "]
        assert (out.getvalue() if status == 2 else "".join(told)) == ""
        return "".join(told) if status == 2 else out.getvalue()

    return run


@pytest.fixture(scope="session")
def refused(run_cli: Callable[..., str]) -> Callable[..., str]:
    """Return a function that runs a command that must be refused, and returns the sentence."""
    return lambda *arguments: run_cli(*arguments, status=2)
