"""What a user is told when something cannot be done: what is wrong, and the remedy."""

from __future__ import annotations


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
