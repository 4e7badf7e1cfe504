"""Finding the terms of the energy: each is the one class of a file in a folder of its kind."""

from __future__ import annotations

from importlib import import_module
from typing import TypeVar

Kind = TypeVar("Kind")


def term_class(folder: str, name: str, kind: type[Kind]) -> type[Kind]:
    """Return the class in the file of a term; the files there are tell `settings.terms`.

    Parameters
    ----------
    folder : {"fidelities", "penalties"}
    name : str
        As users write it: that of the file, with hyphens.
    kind : type
        What the class derives from.
    """
    module = import_module(f"{__package__}.{folder}.{name.replace('-', '_')}")
    return next(
        found
        for found in vars(module).values()
        if isinstance(found, type)
        and issubclass(found, kind)
        and found.__module__ == module.__name__
    )
