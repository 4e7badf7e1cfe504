"""A stack is looked at as a whole before its frames are unfolded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

from napari_unfold.estimation.bad_frames import FrameCheck, check_frames
from napari_unfold.estimation.check_settings import check_settings
from napari_unfold.estimation.observe import MoleculeObservation, observe_molecules
from napari_unfold.estimation.sample import frame_range
from napari_unfold.files.stacks import Stack
from napari_unfold.jobs import Event, Job, Note, translated
from napari_unfold.settings.recipe import Recipe

T = TypeVar("T")


@dataclass(frozen=True)
class Look:
    """What a stack and the settings tell before anything is unfolded.

    Attributes
    ----------
    check : FrameCheck
        Which frames can be used.
    usable : Stack
        These frames.
    recipe : Recipe
        As given, corrected by what the stack contradicts.
    seen : MoleculeObservation
    """

    check: FrameCheck
    usable: Stack
    recipe: Recipe
    seen: MoleculeObservation


def look(stack: Stack, recipe: Recipe, frames: slice) -> Job[Look]:
    """Find out which frames can be used, and what they tell of camera, background and molecules.

    Raises
    ------
    InputError
        If the stack or a setting cannot be used.
    """
    span = frame_range(frames, len(stack))
    told: list[str] = []
    check = yield from check_frames(stack, span, recipe.camera.offset_adu)
    for note in check.notes:
        told.append(note)
        yield Note(note)
    usable = check.usable(stack)
    clipped = math.isfinite(check.ceiling_adu)
    job = check_settings(usable, recipe, (0, len(usable)), clipped)
    recipe = yield from _heard(job, told)
    seen = yield from observe_molecules(usable, recipe, slice(None))
    seen.notes[:0] = told
    return Look(check, usable, recipe, seen)


def _heard(job: Job[T], told: list[str]) -> Job[T]:
    """Run a job and keep its notes."""

    def keep(event: Event) -> Event:
        if isinstance(event, Note):
            told.append(event.text)
        return event

    return (yield from translated(job, keep))
