"""Where learning starts: the outcome depends on it, and nobody should have to guess it."""

from __future__ import annotations

import math
from collections.abc import Generator
from functools import partial
from itertools import product
from typing import Any

import torch

from napari_unfold.imaging.forward import ForwardOperator, SeparableOperator
from napari_unfold.jobs import Event, Note, Progress, Stage, in_background
from napari_unfold.learning.appraisal import TrainingSet, appraise, unfold, worth
from napari_unfold.learning.losses import Loss
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.fidelity import fidelity_named
from napari_unfold.unfolding.metric import FAINT_SHARES
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters

THRESHOLDS = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.16, 0.2, 0.3, 0.4)
"""Fractions of a typical molecule's photons; weights and steps come from the fidelity."""

FRAMES = 16
"""Of the training set, on which starts are compared: with four, the best was chosen by chance."""


def best_start(
    operator: ForwardOperator,
    like: NetworkParameters,
    training: TrainingSet,
    loss: Loss,
    *,
    whiten: bool = False,
) -> Generator[Event, None, NetworkParameters]:
    """Return the classical parameters that do best on a few of the training frames.

    Parameters
    ----------
    operator : ForwardOperator
    like : NetworkParameters
        Tells fidelity, penalty, number of iterations, and what data they are for.
    training : TrainingSet
    loss : Loss
    whiten : bool
        Whether to try whitened misfits too.
    """
    yield Stage("Looking for a starting point")
    few = training[:FRAMES]
    best, best_worth = like, -math.inf
    fidelity = fidelity_named(like.fidelity)
    kinds: list[dict[str, Any]]
    if like.reserve_pixels is None:
        kinds = [{"multiple": multiple} for multiple in fidelity.starting_steps]
    else:
        whiten = whiten and isinstance(operator, SeparableOperator)
        whitenings = (None, *(fidelity.whitenings if whiten else ()))
        kinds = [
            {"faint_share": share, "whitening": mu}
            for share, mu in product(FAINT_SHARES, whitenings)
        ]
    points = list(product(fidelity.starting_weights, kinds))
    for i, (weight, kind) in enumerate(points):
        trial = _classical(operator, like, weight, **kind)
        network = UnfoldedNetwork(operator, trial, dtype=few.y.dtype, device=few.y.device)
        x = yield from in_background(partial(unfold, network, few))
        for share in THRESHOLDS:
            threshold = share * like.reference.molecule_photons
            with torch.no_grad():
                network.threshold.fill_(threshold)
            metrics = appraise(network, few, x, loss)
            if metrics.filled_pixels and worth(metrics, loss) > best_worth:
                best_worth = worth(metrics, loss)
                best = trial.model_copy(update={"threshold_photons": threshold})
        yield Progress(i + 1, len(points))
    if best is like:
        yield Note("No starting point gave molecules; starting from the classical parameters")
    return best


def _classical(
    operator: ForwardOperator,
    like: NetworkParameters,
    weight: float,
    multiple: float = 1.0,
    **changes: float | None,
) -> NetworkParameters:
    """Classical parameters with another weight, and steps of a multiple of the safe ones.

    Where steps suit every pixel, they and the schedules stay as they are, and other `changes` are
    made.
    """
    classical = classical_parameters(
        operator,
        like.reference.molecule_photons,
        like.reference.background_photons,
        fidelity=like.fidelity,
        penalty=like.penalty,
        iterations=like.iterations,
        weight=weight,
    )
    if like.reserve_pixels is not None:
        return like.model_copy(update={"weight": classical.weight, **changes})
    steps = [multiple * step for step in classical.step_sizes]
    return classical.model_copy(update={"step_sizes": steps})
