"""Frames with known molecules, and how well a network does on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from napari_unfold.imaging.grid import Grid
from napari_unfold.jobs import Check, Metrics
from napari_unfold.learning.losses import ImageLoss, LocalizationLoss, Loss, ReconstructionLoss
from napari_unfold.tables.evaluate import jaccard_on_grid
from napari_unfold.unfolding.inference import final_iterate
from napari_unfold.unfolding.network import UnfoldedNetwork

TOLERANCES_PX = (0.0, 2.0, 4.0)
"""Fine pixels; the Jaccard index that is shown is the mean over them, as in the paper."""

FRAMES_AT_ONCE = 8

EQUAL = 1e-3
"""Jaccard indices this close are not told apart."""


@dataclass(frozen=True)
class TrainingSet:
    """Frames with known molecules.

    Attributes
    ----------
    y : tensor (R, Y, X)
        Frames in photons.
    b : tensor (Y, X) or (R, Y, X)
        Background in photons, the same for all frames or for each.
    truth : tensor (R, qY, qX)
        Photons of the true molecules per fine pixel.
    in_sequence : bool
        The frames were taken one after the other, so that molecules may be seen in several.
    """

    y: torch.Tensor
    b: torch.Tensor
    truth: torch.Tensor
    in_sequence: bool = False

    @property
    def follows(self) -> torch.Tensor | None:
        """Which frames came directly after the one before; see `unfolding.coupling`."""
        return torch.ones_like(self.y[:, 0, 0], dtype=torch.bool) if self.in_sequence else None

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, frames: slice) -> TrainingSet:
        b = self.b if self.b.ndim == 2 else self.b[frames]
        return replace(self, y=self.y[frames], b=b, truth=self.truth[frames])

    def split(self, validation_share: float = 0.25) -> tuple[TrainingSet, TrainingSet]:
        """Return the first frames for training and the last, at least one, for validation."""
        n = len(self) - max(1, round(validation_share * len(self)))
        return self[:n], self[n:]

    def parts(self, frames_at_once: int = FRAMES_AT_ONCE) -> Iterator[TrainingSet]:
        """Yield a few frames at a time, which know of no others."""
        for i in range(0, len(self), frames_at_once):
            yield self[i : i + frames_at_once]

    def loss(
        self,
        run: Callable[[TrainingSet], torch.Tensor],
        loss: Loss,
        threshold: torch.Tensor,
        *,
        backward: bool,
        frames_at_once: int = FRAMES_AT_ONCE,
    ) -> torch.Tensor:
        """Return the mean loss over all frames, part by part.

        Parameters
        ----------
        run : callable
            Images ``(R, qY, qX)`` of some of the frames.
        loss : Loss
        threshold : tensor
        backward : bool
            Whether to leave the gradient in the parameters of what `run` does.
        frames_at_once : int
        """
        total = torch.zeros(())
        for part in self.parts(frames_at_once):
            share = len(part) / len(self)
            value = share * loss(run(part), part.truth, threshold)
            if backward:
                value.backward()  # type: ignore[no-untyped-call]
            total = total + value.detach().cpu()
        return total


def truth_images(
    truth: pd.DataFrame, frames: range, grid: Grid, default_photons: float
) -> NDArray[np.float32]:
    """Put the true molecules onto the fine grid.

    Parameters
    ----------
    truth : DataFrame
        frame (from 0), x_nm, y_nm and, if known, photons.
    frames : range
    grid : Grid
    default_photons : float
        For molecules whose photons are not known.

    Returns
    -------
    array (T, qY, qX)
        Photons per fine pixel. Molecules outside the frame are left out.
    """
    rows, columns = grid.fine_shape
    image = np.zeros((len(frames), rows, columns), dtype=np.float32)
    t = truth["frame"].to_numpy() - frames.start
    i = np.floor(truth["y_nm"].to_numpy() / grid.fine_pixel_nm).astype(int)
    j = np.floor(truth["x_nm"].to_numpy() / grid.fine_pixel_nm).astype(int)
    photons = np.full(len(truth), default_photons)
    if "photons" in truth:
        photons = truth["photons"].fillna(default_photons).to_numpy()
    inside = (t >= 0) & (t < len(frames)) & (i >= 0) & (i < rows) & (j >= 0) & (j < columns)
    np.add.at(image, (t[inside], i[inside], j[inside]), photons[inside])
    return image


def unfold(network: UnfoldedNetwork, frames: TrainingSet, check: Check) -> torch.Tensor:
    """Run the network over the frames."""
    return torch.cat(
        [final_iterate(network, p.y, p.b, check, p.follows).clone() for p in frames.parts()]
    )


def appraise(network: UnfoldedNetwork, frames: TrainingSet, x: torch.Tensor, loss: Loss) -> Metrics:
    """Return what there is to know about a network from its images `x` of the frames.

    Parameters
    ----------
    network : UnfoldedNetwork
    frames : TrainingSet
        Not learned from.
    x : tensor (R, qY, qX)
        What `unfold` returns for them.
    loss : Loss
    """
    threshold = network.threshold.detach()
    images, truth = x.cpu().numpy(), frames.truth.cpu().numpy()
    jaccard = [jaccard_on_grid(images, truth, threshold.item(), t) for t in TOLERANCES_PX]
    return Metrics(
        validation_loss=loss(x, frames.truth, threshold).item(),
        jaccard=float(np.mean(jaccard)),
        filled_pixels=int((images > threshold.item()).sum()),
        weight=network.weight.item(),
        threshold_photons=threshold.item(),
        penalty_parameters={name: p.item() for name, p in network.penalty_parameters.items()},
        coupling=network.coupling.item(),
    )


def worth(metrics: Metrics, loss: Loss) -> float:
    """How good a network is: the larger the better, minus infinity if it is useless.

    It is what will be reported: the Jaccard index, or for a loss that is about the light that
    loss. Of the same Jaccard index, the smaller loss is the better.
    """
    if isinstance(loss, ReconstructionLoss | ImageLoss):
        value = -metrics.validation_loss
    elif isinstance(loss, LocalizationLoss):
        value = metrics.jaccard
    else:
        value = metrics.jaccard + EQUAL * (1.0 - metrics.validation_loss)
    return value if math.isfinite(value) else -math.inf
