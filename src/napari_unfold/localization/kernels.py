"""Where the compiled fits serve, and how the cores share their work.

The fits are written twice: in torch, to be read and for any device and precision, and compiled for
single precision on the CPU. `serve` is the one place where it is decided which is used.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import torch

AVAILABLE = find_spec("numba") is not None

PIECES = 4
"""Pieces of work per thread, since some take longer than others."""


def serve(values: torch.Tensor) -> bool:
    """Whether compiled fits can work on frames or molecules such as these."""
    return AVAILABLE and values.dtype == torch.float32 and values.device.type == "cpu"


def in_pieces(work: Callable[[int, int], None], n: int, least: int = 1) -> None:
    """Do the work on `n` items, on as many cores as torch would use.

    Parameters
    ----------
    work : callable
        Does the items from a first up to, not including, a last; releases the interpreter.
    n : int
    least : int
        Items that are worth a piece.
    """
    threads = torch.get_num_threads()
    size = max(least, -(-n // (PIECES * threads)))
    if threads == 1 or n <= size:
        work(0, n)
        return
    with ThreadPoolExecutor(max_workers=threads) as pool:
        starts = range(0, n, size)
        for done in [pool.submit(work, start, min(start + size, n)) for start in starts]:
            done.result()
