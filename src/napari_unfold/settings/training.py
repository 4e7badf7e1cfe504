"""How parameters are learned."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices

from napari_unfold.settings.section import Section, setting

LossName = Literal["reconstruction", "localization", "tolerant", "image"]


Method = Literal["schedules", "paper"]

SceneName = Literal["filaments", "random", "clusters"]

TRAINING_ITERATIONS = 50
"""Usual K of a training, whose time is proportional to it; learned steps need fewer."""


class Training(Section):
    """How parameters are learned."""

    loss: LossName = setting(
        "tolerant",
        "Loss",
        "What the parameters are to be good at: 'reconstruction' (right light in every pixel), "
        "'localization' (molecules in the right pixel, as in the paper), 'tolerant' (the same, "
        "but one pixel beside is nearly right), or 'image' (the same, and light like the truth's).",
    )
    method: Method = setting(
        "schedules",
        "Method",
        "What is learned: 'schedules' (a few numbers tell how steps, weight and bend change over "
        "the iterations, and steps suit every pixel), or 'paper' (each step by itself, one "
        "weight).",
    )
    outer_iterations: int = setting(
        60,
        "Learning steps",
        "Number of steps of the learning algorithm.",
        flag="--steps",
        ge=1,
        le=1000,
    )
    frames: int = setting(
        12,
        "Frames",
        "Number of frames to learn from and to check with.",
        flag="--training-frames",
        ge=2,
        le=1000,
    )
    validation_share: float = setting(
        0.25,
        "Held out",
        "Share of the frames that is kept for checking and not learned from.",
        gt=0,
        lt=1,
    )
    scene: SceneName = setting(
        "filaments", "Structure", "Simulated molecules lie on filaments, anywhere, or in clusters."
    )
    density_per_um2: float = setting(
        3.0,
        "Density",
        "Simulated molecules per square micrometre and frame.",
        "per µm²",
        flag="--density",
        gt=0,
        le=100,
    )
    on_frames: float | None = setting(
        None,
        "On-time",
        "Mean time that a simulated molecule stays on; how much neighbouring frames tell of each "
        "other is then learned. Empty: every frame shows other molecules.",
        "frames",
        ge=0.01,
        le=1e6,
    )
    softness: float = setting(
        0.1,
        "Softness (ρ)",
        "Half width of the passage from an empty to a full pixel around the threshold, relative to "
        "it; small is sharp. Localization and tolerant loss.",
        flag="--softness --steepness",
        validation_alias=AliasChoices("softness", "steepness"),
        gt=0,
        lt=1,
    )
    huber_width: float = setting(
        0.1,
        "Huber width (δ)",
        "Differences of pixels up to it count by their square, larger ones by their size. "
        "Localization loss; in the unit of the full pixel.",
        gt=0,
        le=1000,
    )
    full_pixel: float = setting(
        1.0,
        "Full pixel (M)",
        "Value of a pixel that holds a molecule; 1 or 255 in the paper. Localization loss.",
        gt=0,
        le=1e6,
    )
