"""Every equation of the paper is found by its number, in the one place that implements it."""

from __future__ import annotations

from pathlib import Path

import pytest

import napari_unfold

PACKAGE = Path(napari_unfold.__file__).parent
ELSEWHERE = {2, 3, 4, 24}
"""Of its introduction, and of the penalty that it shows cannot be learned (CEL0)."""


@pytest.mark.parametrize("number", sorted(set(range(1, 25)) - ELSEWHERE))
def test_an_equation_is_named_once(number: int) -> None:
    texts = {f.relative_to(PACKAGE).as_posix(): f.read_text("utf-8") for f in PACKAGE.rglob("*.py")}
    named = [
        name for name, text in texts.items() for _ in range(text.count(f"equation ({number})"))
    ]
    assert len(named) == 1, named
