"""Which localizations to keep: conditions on the columns of a table."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.tables.columns import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}
_FIELD = "conditions"


@dataclass(frozen=True)
class Condition:
    """One comparison that a localization has to pass, such as ``photons > 500``.

    Parameters
    ----------
    column : str
        Name of a column.
    comparison : {"<", "<=", ">", ">=", "="}
    value : float
        In the unit of the column.
    """

    column: str
    comparison: str
    value: float

    def __str__(self) -> str:
        return f"{self.column} {self.comparison} {self.value:.10g}"

    def holds(self, table: pd.DataFrame) -> NDArray[np.bool_]:
        """Return for each localization whether it passes; an unknown value (nan) does not.

        Raises
        ------
        InputError
            If the table has no such column.
        """
        if self.column not in table.columns:
            raise InputError(
                f"the table has no column '{self.column}'",
                f"It has {', '.join(map(str, table.columns))}",
                field=_FIELD,
            )
        values = table[self.column].to_numpy(float)
        return np.asarray(_COMPARISONS[self.comparison](values, self.value), dtype=bool)


def conditions_of(text: str) -> list[Condition]:
    """Parse ``photons > 500``, or a range such as ``80 <= sigma_nm < 160``.

    Parameters
    ----------
    text : str
        A column, a comparison (``<``, ``<=``, ``>``, ``>=``, ``=``) and a number, in either
        order, or a column between two numbers. Columns go by their name or their title, in
        capital or small letters.

    Raises
    ------
    InputError
        If the text is no such comparison.
    """
    # the capturing group keeps the comparisons between the parts
    parts = [part.strip() for part in re.split(r"(<=|>=|==|<|>|=)", text)]
    signs = ["=" if sign == "==" else sign for sign in parts[1::2]]
    words = parts[::2]
    numbers = [_number(word) for word in words]
    match numbers:
        case [None, float(value)]:
            return [Condition(_column(words[0]), signs[0], value)]
        case [float(value), None]:
            return [Condition(_column(words[1]), _MIRRORED[signs[0]], value)]
        case [float(first), None, float(last)]:
            column = _column(words[1])
            return [
                Condition(column, _MIRRORED[signs[0]], first),
                Condition(column, signs[1], last),
            ]
    raise InputError(
        f"'{text}' is not a condition",
        "Write a column, a comparison and a number, such as 'photons > 500' or "
        "'80 < sigma_nm < 160'",
        field=_FIELD,
    )


def select(table: pd.DataFrame, conditions: Iterable[Condition]) -> NDArray[np.bool_]:
    """Return for each localization whether it passes all conditions.

    Raises
    ------
    InputError
        If the table lacks a column.
    """
    keep = np.ones(len(table), dtype=bool)
    for condition in conditions:
        keep &= condition.holds(table)
    return keep


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return None if np.isnan(value) else value


def _column(word: str) -> str:
    for column in COLUMNS:
        if word.lower() in (column.name, column.title.lower()):
            return column.name
    raise InputError(
        f"there is no column called '{word}'",
        f"Known are {', '.join(column.name for column in COLUMNS)}",
        field=_FIELD,
    )
