"""The same symmetric convolution along both axes of images."""

from __future__ import annotations

import torch
from torch.nn import functional

BLOCK = 64


def along_both_axes(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Convolve images ``(..., Y, X)`` with a symmetric kernel ``(2 reach + 1,)``, dark around."""
    return _along_rows(_along_rows(image, kernel).transpose(-1, -2), kernel).transpose(-1, -2)


def _along_rows(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Along axis -2, as matrix products: of blocks where the axis is long."""
    n, reach = image.shape[-2], len(kernel) // 2
    if n <= 4 * BLOCK:
        return band(kernel, n, n) @ image
    missing = -n % BLOCK
    padded = functional.pad(image, (0, 0, reach, reach + missing))
    blocks = padded.unfold(-2, BLOCK + 2 * reach, BLOCK).transpose(-1, -2)
    out = (band(kernel, BLOCK, BLOCK + 2 * reach, reach) @ blocks).flatten(-3, -2)
    return out[..., :n, :]


def band(kernel: torch.Tensor, rows: int, columns: int, shift: int = 0) -> torch.Tensor:
    """Matrix ``(rows, columns)`` of a convolution; row 0 is centred on column `shift`."""
    reach = len(kernel) // 2
    at = torch.arange(columns)[None, :] - torch.arange(rows)[:, None] - shift + reach
    padded = functional.pad(kernel, (1, 1))
    return padded[(at + 1).clamp(0, len(kernel) + 1).to(kernel.device)]
