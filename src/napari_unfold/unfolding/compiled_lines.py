"""What the compiled network does to one line of pixels: see `compiled`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Integers: TypeAlias = NDArray[np.int64]

Function = TypeVar("Function", bound=Callable[..., object])


def jit(function: Function) -> Function:
    """Compile a function when it is first called; later runs find it on disk."""
    return numba.njit(  # type: ignore[no-any-return]
        # liberties that leave the order of sums alone
        fastmath={"contract", "nsz", "nnan", "ninf"},
        nogil=True,
        error_model="numpy",
        cache=True,
    )(function)


unsigned = np.uintp
zero, one, two = np.float32(0), np.float32(1), np.float32(2)


class Terms(NamedTuple):
    """The terms of the energy that are the same in all iterations.

    Attributes
    ----------
    kl : bool
        Kullback-Leibler instead of Gaussian fidelity.
    width : float32
        Of the smoothed projection.
    molecule : float32
        Photons of a typical molecule.
    reserve : float32
        Dark fine pixels of a camera pixel that count where steps suit every pixel; negative where
        all pixels have the same steps.
    faint : float32
        Least share of a pixel that changes.
    coarseness : float32
        By how much the curvature is enlarged; all as in `metric`.
    """

    kl: bool
    width: np.float32
    molecule: np.float32
    reserve: np.float32
    faint: np.float32
    coarseness: np.float32


@jit
def extrapolate(
    x: Floats, previous: Floats, start: int, n: int, inertia: np.float32, z: Floats
) -> None:
    """``z = x + beta (x - x_previous)`` for `n` numbers of a camera row from `start` on."""
    for i in range(x.shape[0]):
        for p in range(x.shape[1]):
            xs, ps, zs = x[i, p, start : start + n], previous[i, p, start : start + n], z[i, p]
            for m in range(n):
                zs[m] = xs[m] + inertia * (xs[m] - ps[m])


@jit
def spread(
    fine: Floats, start: int, n: int, g: Floats, phases: tuple[int, ...], shift: int, light: Floats
) -> None:
    """Blur and sum `q` lines of fine pixels into camera pixels `shift` numbers apart."""
    length = unsigned(fine.shape[1])
    flat = fine.reshape(-1)[start:]
    for d in range(g.shape[1]):
        target = light[d * shift : d * shift + n]
        for m in range(unsigned(n)):
            total = target[m]
            for p in range(unsigned(len(phases))):
                total += g[p, d] * flat[p * length + m]
            target[m] = total


@jit
def collect(
    light: Floats, shift: int, g: Floats, window: tuple[int, ...], fine: Floats, start: int, n: int
) -> None:
    """Apply the transpose of `spread`; `fine` is overwritten."""
    stride = unsigned(shift)
    for p in range(fine.shape[0]):
        line, weights = fine[p, start : start + n], g[p]
        for m in range(unsigned(n)):
            total = zero
            for d in range(unsigned(len(window))):
                total += weights[d] * light[d * stride + m]
            line[m] = total


@jit
def residual(light: Floats, y: Floats, b: Floats, inside: Floats, kl: bool, out: Floats) -> None:
    """Write the derivative of the fidelity by the light, nothing outside the frame."""
    if kl:
        for m in range(light.shape[0]):
            out[m] = inside[m] * (one - max(y[m], zero) / (max(light[m], zero) + b[m]))
    else:
        for m in range(light.shape[0]):
            out[m] = inside[m] * (light[m] + b[m] - y[m])


@jit
def project(t: np.float32, width: np.float32, inverse_width: np.float32) -> np.float32:
    """Project onto nonnegative numbers, smoothly."""
    s = min(max(t * inverse_width, zero), one)
    return width * s * s * (two - s) + max(t - width, zero)
