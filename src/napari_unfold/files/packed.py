"""Arrays and numbers in dataclasses, flattened so that they can be kept in a file, and back."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def packed(value: Any, name: str = "") -> dict[str, NDArray[Any]]:
    """Return all arrays and numbers in a value by their paths, such as ``.tracks.position``.

    Parameters
    ----------
    value : dataclass, tuple, array, tensor, number or None
    name : str
        Path of the value itself.
    """
    if value is None:
        return {}
    if is_dataclass(value):
        inner = {f".{field.name}": getattr(value, field.name) for field in fields(value)}
    elif isinstance(value, tuple):
        inner = {f".{index}": item for index, item in enumerate(value)}
        inner[".length"] = len(value)
    else:
        return {name: np.asarray(value.cpu() if hasattr(value, "cpu") else value)}
    return {key: a for part, v in inner.items() for key, a in packed(v, name + part).items()}


def unpacked(
    kind: type[T], arrays: Mapping[str, NDArray[Any]], device: torch.device, name: str = ""
) -> T:
    """Return what `packed` took apart.

    Parameters
    ----------
    kind : type
        Of the value.
    arrays : mapping
    device : torch.device
        For tensors.
    name : str

    Raises
    ------
    KeyError
        If something is missing.
    """
    return cast(T, _unpacked(kind, arrays, device, name))


def _unpacked(kind: Any, arrays: Mapping[str, NDArray[Any]], device: Any, name: str) -> Any:
    import torch

    if get_origin(kind) is types.UnionType:
        if not any(key == name or key.startswith(f"{name}.") for key in arrays):
            return None
        kind = get_args(kind)[0]
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{f: _unpacked(hints[f], arrays, device, f"{name}.{f}") for f in hints})
    if get_origin(kind) is tuple:
        (each, _), length = get_args(kind), int(arrays[f"{name}.length"])
        return tuple(_unpacked(each, arrays, device, f"{name}.{i}") for i in range(length))
    if kind is torch.Tensor:
        return torch.as_tensor(arrays[name], device=device)
    return kind(arrays[name]) if kind in (int, float) else arrays[name]
