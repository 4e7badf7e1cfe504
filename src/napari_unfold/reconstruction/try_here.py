"""What a run would find in a region of a frame, with all that the whole stack tells."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.estimation.observe import MoleculeObservation
from napari_unfold.files.presets import Preset
from napari_unfold.imaging.camera import noise_variance
from napari_unfold.jobs import Device, Job, Pulse, Stage, choose_device, translated
from napari_unfold.reconstruction.batch import Region
from napari_unfold.reconstruction.look import Look
from napari_unfold.reconstruction.prepare import prepare
from napari_unfold.reconstruction.reconstruct import unfold_batch
from napari_unfold.reconstruction.verdict import Verdict, verdict

MARGIN_SIGMAS = 4.0
"""So far around a region its molecules, and those that shine into it, are looked for."""


@dataclass(frozen=True)
class Tried:
    """What was found in a region of a frame.

    Attributes
    ----------
    frame : int
        From 0.
    region : tuple of slice
        Rows and columns.
    raw, model : array (Y, X)
        Photons per pixel, as seen and as the molecules and the background make them.
    residual : array (Y, X)
        Their difference in units of the noise of each pixel.
    localizations : DataFrame
        Of the region; positions in the whole frame.
    pixel_size_nm : float
    verdict : Verdict
        Whether the model explains the region.
    run_seconds : float
        About what a run over all frames will take.
    """

    frame: int
    region: Region
    raw: NDArray[np.float32]
    model: NDArray[np.float32]
    residual: NDArray[np.float32]
    localizations: pd.DataFrame
    pixel_size_nm: float
    verdict: Verdict
    run_seconds: float


def try_here(
    known: Look, preset: Preset | None, frame: int, region: Region, device: Device = "auto"
) -> Job[Tried]:
    """Unfold a region of a frame.

    Parameters
    ----------
    known : Look
        Of the whole stack.
    preset : Preset, optional
    frame : int
        From 0.
    region : tuple of slice
        Rows and columns of the camera.
    device : {"auto", "cpu", "cuda"}

    Raises
    ------
    InputError
        If the frame is one that cannot be used.
    """
    if frame not in known.check.kept:
        reason = known.check.left_out.get(frame, "it is not among the chosen ones")
        raise InputError(
            f"frame {frame} is left out: {reason}", "Go to another frame", field="frames"
        )
    started = time.monotonic()
    seen = known.seen
    yield Stage("Trying")
    wide = _widened(region, round(MARGIN_SIGMAS * seen.psf.sigma_px), seen.shape)
    setup = prepare(
        cropped(seen, wide),
        preset,
        choose_device(device),
        coupled=known.recipe.localization.follow != "off",
    )
    index = int(np.searchsorted(known.check.kept, frame))
    unfolding = unfold_batch(known, setup, index, index + 1, wide)
    # its progress would be that of a whole run
    _, chunk = yield from translated(unfolding, lambda _: Pulse())
    molecules = chunk.found.molecules
    light = chunk.frames.light(molecules)[0].cpu().numpy()
    raw = chunk.frames.y[0].cpu().numpy()
    model = light + chunk.background[0]
    noise = np.sqrt(noise_variance(model, setup.seen.camera))
    inner = tuple(
        slice(r.start - w.start, r.stop - w.start) for r, w in zip(region, wide, strict=True)
    )
    table = setup.localizer.table(chunk.found, frame, chunk.background)
    pixel_nm = setup.grid.pixel_size_nm
    for name, rows in (("y_nm", 0), ("x_nm", 1)):
        table[name] += wide[rows].start * pixel_nm
        within = table[name].between(region[rows].start * pixel_nm, region[rows].stop * pixel_nm)
        table = table[within]
    area = np.prod(seen.shape) / np.prod([w.stop - w.start for w in wide])
    return Tried(
        frame=frame,
        region=region,
        raw=np.asarray(raw[inner], np.float32),
        model=np.asarray(model[inner], np.float32),
        residual=np.asarray(((raw - model) / noise)[inner], np.float32),
        localizations=table.reset_index(drop=True),
        pixel_size_nm=pixel_nm,
        verdict=verdict(
            chunk.found.quality,
            1,
            0,
            known.recipe.optics.psf_image is None,
            brightness_is_known=True,
        ),
        run_seconds=(time.monotonic() - started) * float(area) * len(known.check.kept),
    )


def cropped(seen: MoleculeObservation, region: Region) -> MoleculeObservation:
    """Return what is known of a region."""
    background = seen.background[region]
    return replace(
        seen,
        shape=background.shape,
        background=background,
        crowding=seen.crowding[region],
        camera=seen.camera.part(region),
        notes=list(seen.notes),
    )


def _widened(region: Region, margin: int, shape: tuple[int, int]) -> Region:
    rows, columns = (
        slice(max(part.start - margin, 0), min(part.stop + margin, size))
        for part, size in zip(region, shape, strict=True)
    )
    return rows, columns
