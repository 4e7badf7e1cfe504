"""The forward operator A of equation (1): blur the fine grid and sum it into camera pixels."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch.nn import functional

from napari_unfold.imaging.psf import PSF, GaussianPSF, MeasuredPSF, gaussian_matrix


class ForwardOperator(Protocol):
    """What the algorithm needs to know about A.

    Attributes
    ----------
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    upsampling : int
        Fine pixels per camera pixel (q).
    norm_squared : float
        ``L = ||A||^2``, or a close upper bound.
    point_energy : float
        ``||a||^2`` of the image ``a`` of one molecule of one photon far from the border.
    """

    shape: tuple[int, int]
    upsampling: int
    norm_squared: float
    point_energy: float

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Image ``(..., qY, qX)`` photons per fine pixel as ``(..., Y, X)`` camera pixels."""
        ...

    def adjoint(self, residual: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Apply the transpose of A: ``(..., Y, X)`` to ``(..., qY, qX)``, into `out` if given."""
        ...


class _AxisBlur:
    """Product with G or its transpose along one axis, in blocks when the axis is long.

    G is banded and repeats itself from one camera pixel to the next, so one small matrix serves
    all blocks of `BLOCK` camera pixels; each block sees `reach` pixels more on both sides.
    """

    BLOCK = 32

    def __init__(self, n: int, upsampling: int, sigma_px: float, options: dict[str, Any]):
        self.n, self.q = n, upsampling
        self.reach = math.ceil(5.5 * sigma_px) + 1
        self.dense = n <= 2 * self.BLOCK or n <= self.BLOCK + 2 * self.reach
        size = n if self.dense else self.BLOCK + 2 * self.reach
        whole = gaussian_matrix(size, upsampling, sigma_px)
        self.norm_squared = (
            float(torch.linalg.matrix_norm(whole, 2)) ** 2 if self.dense else float(upsampling)
        )
        inner = slice(None) if self.dense else slice(self.reach, self.reach + self.BLOCK)
        fine = slice(None) if self.dense else slice(inner.start * self.q, inner.stop * self.q)
        self.matrix = whole[inner].to(**options)
        self.transposed = whole[:, fine].T.contiguous().to(**options)

    def blur(self, x: torch.Tensor) -> torch.Tensor:
        """Fine to camera pixels along axis -2."""
        if self.dense:
            return self.matrix @ x
        return self._blockwise(x, self.matrix, self.q)

    def spread(self, r: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Camera to fine pixels along axis -2, into `out` if given."""
        if self.dense:
            return torch.matmul(self.transposed, r, out=out)
        spread = self._blockwise(r, self.transposed, 1)
        return spread if out is None else out.copy_(spread)

    def _blockwise(self, x: torch.Tensor, matrix: torch.Tensor, per_pixel: int) -> torch.Tensor:
        n_blocks = math.ceil(self.n / self.BLOCK)
        missing = n_blocks * self.BLOCK - self.n
        padded = functional.pad(
            x, (0, 0, self.reach * per_pixel, (self.reach + missing) * per_pixel)
        )
        blocks = padded.unfold(-2, matrix.shape[1], self.BLOCK * per_pixel).transpose(-1, -2)
        out = (matrix @ blocks).flatten(-3, -2)
        return out[..., : out.shape[-2] - missing * matrix.shape[0] // self.BLOCK, :]


class SeparableOperator:
    """A for a Gaussian PSF: ``A x = G_y x G_x^T``.

    Parameters
    ----------
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    upsampling : int
        Fine pixels per camera pixel.
    sigma_px : float
        PSF sigma in camera pixels.
    dtype, device
        Of the images it is applied to.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        upsampling: int,
        sigma_px: float,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape, self.upsampling = shape, upsampling
        options: dict[str, Any] = {"dtype": dtype, "device": device}
        self._y = _AxisBlur(shape[0], upsampling, sigma_px, options)
        self._x = _AxisBlur(shape[1], upsampling, sigma_px, options)
        self.norm_squared = self._y.norm_squared * self._x.norm_squared
        reach = 2 * math.ceil(5.5 * sigma_px) + 1
        middle = (reach // 2) * upsampling + upsampling // 2
        profile = gaussian_matrix(reach, upsampling, sigma_px)[:, middle]
        self.point_energy = float(profile.square().sum()) ** 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Image ``(..., qY, qX)`` photons per fine pixel as ``(..., Y, X)`` camera pixels."""
        return self._x.blur(self._y.blur(x).transpose(-1, -2)).transpose(-1, -2)

    def adjoint(self, residual: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Apply the transpose of A: ``(..., Y, X)`` to ``(..., qY, qX)``, into `out` if given."""
        rows = self._x.spread(residual.transpose(-1, -2)).transpose(-1, -2)
        return self._y.spread(rows, out)


class MeasuredOperator:
    """A for a measured PSF: convolution on the fine grid, then sums over q x q patches.

    Parameters
    ----------
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    upsampling : int
        Fine pixels per camera pixel.
    psf : MeasuredPSF
    dtype, device
        Of the images it is applied to.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        upsampling: int,
        psf: MeasuredPSF,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape, self.upsampling = shape, upsampling
        kernel = torch.as_tensor(psf.on_fine_grid(upsampling), dtype=dtype, device=device)
        self._half = kernel.shape[0] // 2
        self._fine = (shape[0] * upsampling, shape[1] * upsampling)
        # room for the light that leaves the frame, so that it is lost and not wrapped around
        self._padded = tuple(n + 2 * self._half for n in self._fine)
        self._spectrum = torch.fft.rfft2(kernel, s=self._padded)
        self.norm_squared = float(self._spectrum.abs().max()) ** 2 * upsampling**2
        patches = functional.pad(kernel, (0, -kernel.shape[1] % upsampling) * 2)
        camera = functional.avg_pool2d(patches[None], upsampling)[0] * upsampling**2
        self.point_energy = float(camera.square().sum())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Image ``(..., qY, qX)`` photons per fine pixel as ``(..., Y, X)`` camera pixels."""
        spectrum = torch.fft.rfft2(x, s=self._padded) * self._spectrum
        blurred: torch.Tensor = torch.fft.irfft2(spectrum, s=self._padded)
        h = self._half
        inside = blurred[..., h : h + self._fine[0], h : h + self._fine[1]]
        q, (rows, columns) = self.upsampling, self.shape
        return inside.reshape(*x.shape[:-2], rows, q, columns, q).sum((-3, -1))

    def adjoint(self, residual: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Apply the transpose of A: ``(..., Y, X)`` to ``(..., qY, qX)``, into `out` if given."""
        q, h = self.upsampling, self._half
        spread = residual.repeat_interleave(q, -2).repeat_interleave(q, -1)
        spectrum = torch.fft.rfft2(functional.pad(spread, (h, h, h, h)), s=self._padded)
        correlated = torch.fft.irfft2(spectrum * self._spectrum.conj(), s=self._padded)
        spread = correlated[..., : self._fine[0], : self._fine[1]]
        return spread if out is None else out.copy_(spread)


def forward_operator(
    shape: tuple[int, int],
    upsampling: int,
    psf: PSF,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> ForwardOperator:
    """Return the fastest operator for the PSF."""
    if isinstance(psf, GaussianPSF):
        return SeparableOperator(shape, upsampling, psf.sigma_px, dtype, device)
    return MeasuredOperator(shape, upsampling, psf, dtype, device)
