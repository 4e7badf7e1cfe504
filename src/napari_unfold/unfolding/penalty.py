"""Sparsity penalties of the energy, for nonnegative images.

Each is a file in ``penalties``; what it has to know of itself is listed here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Self, TypeAlias

from napari_unfold.settings import terms
from napari_unfold.unfolding.registry import term_class

if TYPE_CHECKING:
    import torch

    Value: TypeAlias = float | torch.Tensor

_LEARNABLE = "learnable"


@dataclass(frozen=True)
class Learnable:
    """What is known of a parameter of a penalty before anything is learned.

    Attributes
    ----------
    classical : float
        Its value in an untrained network.
    lower, upper : float
        Bounds within which it is learned.
    in_photons : bool
        All of them are in units of a typical molecule's photons, and change with the brightness.
    early : float
        By how much larger it begins in a network that has a value for every iteration.
    """

    classical: float
    lower: float
    upper: float
    in_photons: bool = True
    early: float = 1.0

    def unit(self, molecule_photons: float) -> float:
        """Return the unit of the three numbers."""
        return molecule_photons if self.in_photons else 1.0


def learnable(
    *, classical: float, lower: float, upper: float, in_photons: bool = True, early: float = 1.0
) -> dict[str, Learnable]:
    """Return the metadata of a field that is a positive parameter; see `Learnable`."""
    return {_LEARNABLE: Learnable(classical, lower, upper, in_photons, early)}


@dataclass(frozen=True)
class Penalty(ABC):
    """A term ``sum phi(x_i)`` with ``phi(0) = 0`` and the slope one at zero.

    ``phi`` is as steep as the l1 norm where there is no light, so that one weight means the same
    for all penalties. Its parameters are the fields of the class, numbers or tensors.
    """

    @abstractmethod
    def value(self, x: torch.Tensor) -> torch.Tensor:
        """``sum phi(x_i)`` of every image, shape ``(...)`` for images ``(..., qY, qX)``."""

    @abstractmethod
    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        """``phi'(x_i)``, evaluated at ``max(x_i, 0)``."""

    @abstractmethod
    def curvature(self, x: torch.Tensor) -> torch.Tensor:
        """Return the derivative of `gradient` by ``x_i``."""

    def gradient_by_parameters(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the derivatives of `gradient` by the parameters."""
        del x
        return {}

    def descend(self, z: torch.Tensor, step: float, scratch: torch.Tensor) -> None:
        """Subtract ``step * gradient(z)`` from `z` in place; `scratch` may be written over."""
        del scratch
        z.sub_(self.gradient(z), alpha=step)

    @staticmethod
    def l1_iterations(iterations: int) -> int:
        """How many first iterations of an untrained network use the l1 norm instead.

        A nonconvex penalty decides where there is light before there is any.
        """
        return iterations // 4

    def as_numbers(self) -> Self:
        """Return the same with parameters that are no tensors."""
        values = {name: getattr(self, name) for name in self.learnables()}
        return type(self)(**{n: v if isinstance(v, float) else v.item() for n, v in values.items()})

    @classmethod
    def learnables(cls) -> dict[str, Learnable]:
        """Return what was declared of each parameter."""
        return {f.name: f.metadata[_LEARNABLE] for f in fields(cls)}

    @classmethod
    def classical(cls, molecule_photons: float) -> dict[str, float]:
        """Return the parameters of an untrained network."""
        return {
            name: declared.classical * declared.unit(molecule_photons)
            for name, declared in cls.learnables().items()
        }

    @classmethod
    def rescaled(cls, values: Mapping[str, float], c: float) -> dict[str, float]:
        """Return the parameters for light that is `c` times as bright."""
        declared = cls.learnables()
        return {name: declared[name].unit(c) * value for name, value in values.items()}


@cache
def penalty_named(name: terms.Penalty) -> type[Penalty]:
    """Return the class of a penalty of a name in `settings.terms.PENALTIES`."""
    return term_class("penalties", name, Penalty)  # type: ignore[type-abstract]
