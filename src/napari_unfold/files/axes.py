"""Which of the planes of a many-dimensional recording are the frames of the stack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.files.stacks import ambiguous_error, stack_error


@dataclass(frozen=True)
class Selection:
    """One channel and one plane of a recording that has several, both counted from 0."""

    channel: int | None = None
    plane: int | None = None


_MOST_PLANES = 10**8
NO_SELECTION = Selection()
_NOT_TIME = {"Z": "planes of a z stack", "C": "channels"}
_CHOSEN = {"C": ("channel", "--channel"), "Z": ("plane", "--plane")}


def frame_planes(
    name: str, axes: str, shape: Sequence[int], selection: Selection = NO_SELECTION
) -> tuple[NDArray[np.intp], list[str]]:
    """Return the planes that are the frames, and what is to be said of the choice.

    Parameters
    ----------
    name : str
        How messages call the recording.
    axes : str
        One letter an axis that is neither y nor x: T, Z, C, or any other if it is not known.
    shape : sequence of int
        Lengths of these axes.
    selection : Selection

    Returns
    -------
    planes : array of int
        Numbers of the planes, counted along the axes, the last one fastest.
    notes : list of str

    Raises
    ------
    InputError
        If more than one axis is left, or the recording has not what was chosen.
    """
    if math.prod(shape) > _MOST_PLANES:
        raise stack_error(
            f"'{name}' is said to hold {math.prod(shape):,} planes", "Copy or export it again"
        )
    numbers = np.arange(math.prod(shape)).reshape(shape)
    for letter, (what, _) in _CHOSEN.items():
        chosen = getattr(selection, what)
        if chosen is None:
            continue
        length = shape[axes.index(letter)] if letter in axes else 1
        if not 0 <= chosen < length:
            raise InputError(
                f"'{name}' has no {what} {chosen}",
                f"It has {length}, counted from 0"
                if letter in axes
                else f"Its file tells of no {what}s",
                field=f"stack.{what}",
            )
        if letter in axes:
            numbers = numbers.take([chosen], axis=axes.index(letter))
    left = [axis for axis, n in zip(axes, numbers.shape, strict=True) if n > 1]
    if len(left) > 1:
        raise ambiguous_error(name, tuple(shape), axes, [_CHOSEN[a][1] for a in "CZ" if a in left])
    notes = [
        f"The {numbers.size} frames of '{name}' are stored as {_NOT_TIME[axis]}; they are taken "
        "for frames in time"
        for axis in left
        if axis in _NOT_TIME
    ]
    return numbers.reshape(-1), notes
