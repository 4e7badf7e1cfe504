"""What a user is told when something cannot be done: what is wrong, and the remedy."""

from __future__ import annotations

import logging
import re

_log = logging.getLogger(__name__)

_OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory", re.IGNORECASE)
"""In what PyTorch says of a GPU and of the processor, where that is a mere RuntimeError."""

_DEVICE_LOST = re.compile("CUDA error|device-side assert|CUDNN_STATUS|CUBLAS_STATUS|cuFFT error")
"""In what PyTorch says of a GPU that gave up; no later call to it succeeds in the same process."""


class UnfoldError(Exception):
    """An error written for the user: what is wrong, and what to do about it.

    Parameters
    ----------
    problem : str
        One clause that names the thing that is wrong, without a final stop.
    remedy : str
        What the user can do, as a full sentence without a final stop.
    field : str, optional
        The setting the error belongs to, as a dotted path into `Recipe`
        (``"optics.pixel_size_nm"``) or ``"stack"``; a form shows the error beside it.
    """

    def __init__(self, problem: str, remedy: str = "", field: str | None = None) -> None:
        self.problem = problem
        self.remedy = remedy
        self.field = field
        super().__init__(f"{problem}. {remedy}." if remedy else f"{problem}.")


class InputError(UnfoldError):
    """The data or a setting cannot be used as given; nothing was computed or written."""


class OutOfMemoryError(UnfoldError):
    """The job does not fit into memory, even one frame at a time."""


class DeviceLostError(UnfoldError):
    """The GPU failed in the middle of a job."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory is short, of the computer or of the GPU."""
    by_name = type(error).__name__ == "OutOfMemoryError"  # of torch, which need not be imported
    told = isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None
    return by_name or told or isinstance(error, MemoryError)


def explained(error: BaseException) -> UnfoldError | None:
    """Return what an error means that has its cause in the computer; None for any other."""
    if isinstance(error, UnfoldError):
        return error
    if is_out_of_memory(error):
        return OutOfMemoryError(
            "the computation does not fit into memory",
            "Close other programs, crop the stack, lower the upsampling, or compute on the CPU",
        )
    if isinstance(error, RuntimeError) and _DEVICE_LOST.search(str(error)):
        reason = str(error).partition("\n")[0].rstrip(".")
        return DeviceLostError(
            f"the GPU failed in the middle of the computation ({reason})",
            "Start napari-unfold again; if it fails again, compute on the CPU",
            field="device",
        )
    return None


def as_unfold_error(error: BaseException) -> UnfoldError:
    """Return any error as one that a user can read; one that is not expected goes to the log."""
    known = explained(error)
    if known is not None:
        return known
    _log.error("unexpected error in a job", exc_info=error)
    return UnfoldError(
        f"the computation stopped with an unexpected {type(error).__name__} ({error})",
        "Please report this together with your settings",
    )
