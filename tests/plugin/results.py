"""Small real results, as jobs return them, and jobs that end with them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from napari_unfold.errors import InputError
from napari_unfold.files.presets import list_presets
from napari_unfold.fluctuation.sharpened import FluctuationResult
from napari_unfold.jobs import Event, Job, Metrics, Preview, Stage
from napari_unfold.learning.adapt import Adapted
from napari_unfold.learning.judge import Gain, Judgement
from napari_unfold.learning.learn import Learned
from napari_unfold.learning.state import TrainingState
from napari_unfold.reconstruction.result import Reconstruction
from napari_unfold.settings.fluctuation import Fluctuation
from napari_unfold.settings.recipe import Recipe
from napari_unfold.tables.evaluate import Score

PREVIEW = Preview(np.ones((32, 40), np.float32))
"""Of 8 x 10 camera pixels at an upsampling of 4."""


def reconstruction(
    shape: tuple[int, int] = (8, 10), upsampling: int = 4, pixel_size_nm: float = 100.0
) -> Reconstruction:
    """Return the reconstruction of one molecule at x = 212.5 nm, y = 437.5 nm in frame 2."""
    fine_nm = pixel_size_nm / upsampling
    image = np.zeros((shape[0] * upsampling, shape[1] * upsampling), np.float32)
    image[int(437.5 // fine_nm), int(212.5 // fine_nm)] = 7.0
    table = pd.DataFrame({"frame": [2], "x_nm": [212.5], "y_nm": [437.5], "photons": [1500.0]})
    return Reconstruction(
        image=image,
        localizations=table,
        background=np.full(shape, 20, np.float32),
        psf=np.full((37, 37), 1 / 37**2, np.float32),
        molecule_photons=1500.0,
        pixel_size_nm=pixel_size_nm,
        upsampling=upsampling,
        recipe=Recipe(),
        record={
            "program": "test",
            "stack": {"name": "stack", "frames": [0, 5]},
            "psf": {"sigma_nm": 110.0, "fwhm_nm": 259.0, "source": "as entered"},
            "verdict": {"summary": "The model explains the frames"},
        },
    )


def followed() -> Reconstruction:
    """Return a reconstruction of one molecule that stays on for three frames."""
    result = reconstruction()
    table = pd.DataFrame(
        {"frame": [2, 3, 4], "x_nm": 212.5, "y_nm": 437.5, "photons": 1500.0, "track": 1}
    )
    return dataclasses.replace(result, localizations=table)


def metrics(step: int) -> Metrics:
    """Return numbers of a training that gets better for two steps and then worse."""
    return Metrics(
        training_loss=1.0 / (step + 1),
        validation_loss=abs(step - 2) + 1.0,
        weight=0.5 - 0.1 * step,
        threshold_photons=200.0 + 20 * step,
        jaccard=(0.2, 0.3, 0.6, 0.5)[step],
        penalty_parameters={"bend_photons": 150.0 + 15 * step},
    )


def psf_metrics(step: int) -> Metrics:
    """Return numbers of a PSF that is learned."""
    return Metrics(validation_loss=1.0, training_loss=1.0, psf_sigma_px=1.4 - 0.1 * step)


def learned(steps: int = 4) -> Learned:
    """Return what was learned in so many steps, shown on 8 x 10 camera pixels."""
    preset = list_presets()[0].model_copy(
        update={"name": "my-microscope", "title": "My microscope", "upsampling": 4}
    )
    image = np.zeros((32, 40), np.float32)
    image[3, 5] = 900
    history = [metrics(step) for step in range(steps)]
    network = next(iter(preset.networks.values()))
    return Learned(
        preset=preset,
        before=0.1 * image,
        after=0.9 * image,
        truth=image,
        history=history,
        best=2,
        outcome="learned",
        state=TrainingState.of(network, network, 2, history, {}),
    )


def adapted(gain: float) -> Adapted:
    """Return a preset that is better than the shipped one by a gain, or not."""
    score = Score(100.0, 10, 9, 8, 8 / 11, 8 / 9, 0.8, 20.0, 60.0, 0.7)
    shipped = Judgement("dense-smlm", 300, [score], 0.7, 1.0)
    return Adapted(
        learned=learned(),
        shipped=shipped,
        adapted=dataclasses.replace(shipped, preset="my-microscope", iterations=50),
        molecules=Gain(gain, 0.01),
        image=Gain(0.0, 0.01),
        seen="stack",
    )


def sharpened(settings: Fluctuation, steps: int = 3) -> FluctuationResult:
    """Return 8 x 10 camera pixels sharpened at an upsampling of 4."""
    return FluctuationResult(
        mean=np.full((8, 10), 50, np.float32),
        variance=np.full((8, 10), 9, np.float32),
        reconstruction=np.eye(32, 40, dtype=np.float32),
        psf=np.full((19, 19), 1 / 361, np.float32),
        sigma_nm=115.0 if settings.psf_from == "learned" else 110.0,
        data_sigma_nm=110.0,
        data_sigma_error_nm=1.0,
        learned_sigma_nm=115.0 if steps else None,
        history=[psf_metrics(step) for step in range(steps)],
        settings=settings,
        pixel_size_nm=100.0,
        upsampling=4,
        record={"program": "test", "verdict": {"summary": "The model explains the frames"}},
    )


def job_of(events: Iterable[Event], result: object) -> Callable[..., Job[object]]:
    """Return a job that tells `events` and ends with `result`."""

    def job(*_: object, **__: object) -> Job[object]:
        yield from events
        return result

    return job


def endless(events: Iterable[Event] = (), then: Event = PREVIEW) -> Callable[..., Job[object]]:
    """Return a job that tells `events`, and then one and the same until it is cancelled."""

    def job(*_: object, **__: object) -> Job[object]:
        yield from events
        while True:
            time.sleep(0.01)
            yield then

    return job


def failing(
    error: Exception, events: Iterable[Event] = (Stage("Working"),)
) -> Callable[..., Job[object]]:
    """Return a job that tells `events` and then raises `error`."""

    def job(*_: object, **__: object) -> Job[object]:
        yield from events
        raise error

    return job


NO_GPU = InputError("no GPU here", "Choose 'auto'", field="device")
