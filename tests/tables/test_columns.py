"""Localization tables have known columns, types and units."""

import numpy as np
import pandas as pd
import pytest

from napari_unfold.errors import InputError
from napari_unfold.tables.columns import COLUMNS, empty_table, validate


def test_every_column_says_what_it_is() -> None:
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)
    assert len({column.thunderstorm for column in COLUMNS}) == len(COLUMNS)
    for column in COLUMNS:
        assert column.title
        assert column.description.endswith(".")
        assert not column.name.endswith("_nm") or column.unit == "nm"


def test_an_empty_table_is_valid() -> None:
    assert len(empty_table()) == 0
    assert list(validate(empty_table())) == ["frame", "x_nm", "y_nm"]


def test_columns_are_ordered_and_typed() -> None:
    table = validate(pd.DataFrame({"y_nm": [1], "colour": ["red"], "frame": [2.0], "x_nm": [3]}))
    assert dict(table.dtypes.astype(str)) == {
        "frame": "int64",
        "x_nm": "float64",
        "y_nm": "float64",
    }


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("x_nm", np.nan, "row 2.*x_nm"),
        ("y_nm", np.inf, "row 2.*y_nm"),
        ("frame", -1, "row 2.*frame"),
        ("frame", 0.5, "row 2.*frame"),
    ],
)
def test_impossible_values_are_refused(column: str, value: float, message: str) -> None:
    table = pd.DataFrame({"frame": [0.0, 1.0], "x_nm": [0.0, 1.0], "y_nm": [0.0, 1.0]})
    table.loc[1, column] = value
    with pytest.raises(InputError, match=message):
        validate(table)
