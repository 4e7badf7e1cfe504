"""The forward operator A of equation (1): blur the fine grid and sum it into camera pixels."""

from __future__ import annotations

import math
from functools import cached_property
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

    @property
    def norm_squared(self) -> float: ...  # noqa: D102

    @property
    def point_energy(self) -> float: ...  # noqa: D102

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

    def __init__(
        self, n: int, upsampling: int, sigma_px: float, options: dict[str, Any], squared: bool
    ) -> None:
        self.n, self.q = n, upsampling
        self.reach = math.ceil(5.5 * sigma_px) + 1
        self.dense = n <= 2 * self.BLOCK or n <= self.BLOCK + 2 * self.reach
        size = n if self.dense else self.BLOCK + 2 * self.reach
        whole = gaussian_matrix(size, upsampling, sigma_px)
        if squared:
            whole = whole.square()
        self.norm_squared = (
            float(torch.linalg.matrix_norm(whole, 2)) ** 2
            if self.dense
            else float(norm_squared_bound(whole))
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

    def even(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return matrix and transpose for light that is even within every camera pixel."""
        rows, columns = self.matrix.shape[0], self.transposed.shape[1]
        by_pixel = self.matrix.reshape(rows, -1, self.q).sum(dim=2)
        return by_pixel, self.transposed.reshape(-1, self.q, columns).mean(dim=1)

    def through(self, matrix: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Apply one of the matrices `even` to camera pixels along axis -2."""
        return matrix @ x if self.dense else self._blockwise(x, matrix, 1)

    def _blockwise(self, x: torch.Tensor, matrix: torch.Tensor, per_pixel: int) -> torch.Tensor:
        n_blocks = math.ceil(self.n / self.BLOCK)
        missing = n_blocks * self.BLOCK - self.n
        padded = functional.pad(
            x, (0, 0, self.reach * per_pixel, (self.reach + missing) * per_pixel)
        )
        blocks = padded.unfold(-2, matrix.shape[1], self.BLOCK * per_pixel).transpose(-1, -2)
        out = (matrix @ blocks).flatten(-3, -2)
        return out[..., : out.shape[-2] - missing * matrix.shape[0] // self.BLOCK, :]


def norm_squared_bound(matrix: torch.Tensor) -> torch.Tensor:
    """Upper bound of ``||M||^2`` of a nonnegative matrix: largest column sum times row sum.

    Close for blurs, whose rows are much alike, and differentiable.
    """
    return matrix.sum(dim=0).amax() * matrix.sum(dim=1).amax()


class SeparableOperator:
    """A for a Gaussian PSF: ``A x = G_y x G_x^T``; or ``A∘A``, with every element squared.

    Squaring a product of two factors squares both: ``(A∘A) x = (G_y∘G_y) x (G_x∘G_x)^T``.

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
    squared : bool
        ``A∘A``, which maps variances of emitters to variances of pixels.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        upsampling: int,
        sigma_px: float,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        squared: bool = False,
    ) -> None:
        self.shape, self.upsampling = shape, upsampling
        self.sigma_px, self.squared = sigma_px, squared
        options: dict[str, Any] = {"dtype": dtype, "device": device}
        self._y = _AxisBlur(shape[0], upsampling, sigma_px, options, squared)
        self._x = _AxisBlur(shape[1], upsampling, sigma_px, options, squared)
        self.norm_squared = self._y.norm_squared * self._x.norm_squared
        profile = self.profile(math.ceil(5.5 * sigma_px))[upsampling // 2]
        self.point_energy = float(profile.square().sum()) ** 2

    def profile(self, reach: int) -> torch.Tensor:
        """Return how one axis of A spreads the light of the fine pixels of a camera pixel.

        Parameters
        ----------
        reach : int
            Camera pixels to each side.

        Returns
        -------
        tensor (q, 2 reach + 1)
            From every fine pixel to the camera pixels around.
        """
        n, q = 2 * reach + 1, self.upsampling
        columns = gaussian_matrix(n, q, self.sigma_px)[:, reach * q : (reach + 1) * q].T
        return columns.square() if self.squared else columns

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Image ``(..., qY, qX)`` photons per fine pixel as ``(..., Y, X)`` camera pixels."""
        return self._x.blur(self._y.blur(x).transpose(-1, -2)).transpose(-1, -2)

    def adjoint(self, residual: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Apply the transpose of A: ``(..., Y, X)`` to ``(..., qY, qX)``, into `out` if given."""
        rows = self._x.spread(residual.transpose(-1, -2)).transpose(-1, -2)
        return self._y.spread(rows, out)

    @cached_property
    def _even(self) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        return self._y.even(), self._x.even()

    def forward_even(self, light: torch.Tensor) -> torch.Tensor:
        """`forward` of an image that is even within camera pixels, given as ``(..., Y, X)``."""
        return self._apply_even(0, light)

    def adjoint_even(self, residual: torch.Tensor) -> torch.Tensor:
        """`adjoint`, averaged over the fine pixels of every camera pixel, ``(..., Y, X)``."""
        return self._apply_even(1, residual)

    def _apply_even(self, which: int, image: torch.Tensor) -> torch.Tensor:
        y, x = (matrices[which] for matrices in self._even)
        rows = self._x.through(x, image.transpose(-1, -2)).transpose(-1, -2)
        return self._y.through(y, rows)


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


class SquaredMeasuredOperator:
    """A∘A for a measured PSF: the variance of camera pixels from that of emitters.

    Element ``A_ij`` is the share of the light of fine pixel ``j`` that falls into camera pixel
    ``i``. It depends on the distance of the camera pixels and on where ``j`` lies in its own, one
    of q x q phases. ``A∘A`` is therefore a sum over the phases of convolutions on the camera's
    grid, each with the square of that phase's image. (The square of a sum over a patch is not the
    sum of squares: squaring the PSF on the fine grid would be wrong for q > 1.)

    Parameters
    ----------
    shape, upsampling, psf, dtype, device
        As for `MeasuredOperator`.
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
        fine = torch.as_tensor(psf.on_fine_grid(upsampling), dtype=torch.float64)
        kernels = _phase_images(fine, upsampling).square()
        energies = kernels.sum(dim=(-2, -1))
        self.norm_squared = float(energies.max() * energies.sum())
        self.point_energy = float(kernels[len(kernels) // 2].square().sum())
        # conv2d correlates: flip for a convolution
        self._kernels = kernels.flip(-2, -1)[None].to(dtype=dtype, device=device)
        self._half = kernels.shape[-1] // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Image ``(..., qY, qX)`` of variances as ``(..., Y, X)`` camera pixels."""
        flat = x.reshape(-1, 1, *x.shape[-2:])
        phases = functional.pixel_unshuffle(flat, self.upsampling)
        out = functional.conv2d(phases, self._kernels, padding=self._half)
        return out.reshape(*x.shape[:-2], *self.shape)

    def adjoint(self, residual: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Apply the transpose of A∘A: ``(..., Y, X)`` to ``(..., qY, qX)``."""
        flat = residual.reshape(-1, 1, *residual.shape[-2:])
        phases = functional.conv_transpose2d(flat, self._kernels, padding=self._half)
        spread = functional.pixel_shuffle(phases, self.upsampling)
        spread = spread.reshape(*residual.shape[:-2], *spread.shape[-2:])
        return spread if out is None else out.copy_(spread)


def _phase_images(kernel: torch.Tensor, q: int) -> torch.Tensor:
    """Images on the camera of a point in each of the q x q fine pixels of the middle one.

    Returns
    -------
    tensor (q * q, n, n)
        Phases in the order of `pixel_unshuffle`; the middle pixel is that of the point.
    """
    half = kernel.shape[-1] // 2
    reach = math.ceil((half + q - 1) / q)
    n = 2 * reach + 1
    canvas = torch.zeros(q, q, n * q, n * q, dtype=kernel.dtype)
    for row in range(q):
        for column in range(q):
            top, left = reach * q + row - half, reach * q + column - half
            size = kernel.shape[-1]
            canvas[row, column, top : top + size, left : left + size] = kernel
    return functional.avg_pool2d(canvas.flatten(0, 1), q) * q**2


def forward_operator(
    shape: tuple[int, int],
    upsampling: int,
    psf: PSF,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    squared: bool = False,
) -> ForwardOperator:
    """Return the fastest operator A for the PSF, or with `squared` A∘A."""
    if isinstance(psf, GaussianPSF):
        return SeparableOperator(shape, upsampling, psf.sigma_px, dtype, device, squared)
    measured = SquaredMeasuredOperator if squared else MeasuredOperator
    return measured(shape, upsampling, psf, dtype, device)
