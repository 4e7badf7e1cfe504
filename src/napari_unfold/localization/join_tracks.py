"""Tracks that follow each other at one place become one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from napari_unfold.localization.anchors import Anchors
from napari_unfold.localization.staying import evidence_for_one
from napari_unfold.localization.tracks import Tracks

REACH_SIGMAS = 5.0
"""Standard deviations beyond which two tracks are not looked at."""


def join(tracks: Tracks, covariance: torch.Tensor, density: torch.Tensor, staying: float) -> Tracks:
    """Join tracks of which one begins in the frame after the other ended, where they are one.

    The clearest pairs first; a track goes on as one other at most.

    Parameters
    ----------
    tracks : Tracks
    covariance : tensor (M, 2, 2)
        Of the positions, in pixels squared.
    density : tensor (M,)
        Molecules per pixel and frame, where the tracks are.
    staying : float
        Probability of staying on from a frame to the next.
    """
    pairs = _clearest_first(*_evidence(tracks, covariance, density, staying))
    if len(pairs) == 0:
        return tracks
    n = len(tracks)
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    count, labels = connected_components(links, directed=False)
    new = torch.as_tensor(labels, dtype=torch.long, device=tracks.track.device)
    return _merged(tracks, torch.linalg.inv_ex(covariance)[0], new, count)


def _evidence(
    tracks: Tracks, covariance: torch.Tensor, density: torch.Tensor, staying: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Pairs of an ending and a beginning track, and the evidence that they are one molecule."""
    first, last = tracks.first.cpu().numpy(), tracks.last.cpu().numpy()
    at = tracks.position.cpu().double().numpy()
    spread = covariance.cpu().double().numpy()
    reach = REACH_SIGMAS * math.sqrt(2.0 * float(spread.diagonal(axis1=1, axis2=2).max()))
    far = 10.0 * reach
    ends = cKDTree(np.column_stack([far * (last + 1.0), at]))
    begins = cKDTree(np.column_stack([far * first, at]))
    near = ends.sparse_distance_matrix(begins, reach, output_type="ndarray")
    i, j = near["i"], near["j"]
    both = spread[i] + spread[j]
    apart = at[i] - at[j]
    half = 0.5 * (apart * np.linalg.solve(both, apart[..., None])[..., 0]).sum(1)
    dense = density.cpu().double().numpy()
    return i, j, evidence_for_one(half, both, dense[j], staying)


def _clearest_first(
    i: NDArray[np.intp], j: NDArray[np.intp], evidence: NDArray[np.float64]
) -> NDArray[np.intp]:
    order = np.argsort(-evidence, kind="stable")[: int((evidence > 0).sum())]
    gone_on, come_from = set(), set()
    chosen = []
    for a, b in zip(i[order], j[order], strict=True):
        if a not in gone_on and b not in come_from:
            gone_on.add(a)
            come_from.add(b)
            chosen.append((a, b))
    return np.array(chosen, dtype=np.intp).reshape(-1, 2)


def _merged(tracks: Tracks, weight: torch.Tensor, new: torch.Tensor, count: int) -> Tracks:
    """Give the tracks their new numbers; positions become means."""

    def total(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(count, *values.shape[1:]).index_add_(0, new, values)

    weighted = total(torch.einsum("nij,nj->ni", weight, tracks.position.double()))
    position = torch.linalg.solve_ex(total(weight), weighted)[0].to(tracks.position)
    carried = Anchors(
        position,
        total(tracks.carried.slope(position[new])),
        total(tracks.carried.information),
    )
    order = torch.argsort(tracks.first, descending=True, stable=True).cpu().numpy()
    number = np.zeros(count, dtype=np.int64)
    # the number of the one that begins first, which is written last
    number[new.cpu().numpy()[order]] = tracks.number.cpu().numpy()[order]
    return replace(
        tracks,
        number=torch.as_tensor(number, device=new.device),
        position=position,
        carried=carried,
        begun=total(tracks.begun.long()) > 0,
        track=new[tracks.track],
    )
