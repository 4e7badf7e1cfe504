"""Conditions say which localizations are kept."""

import numpy as np
import pandas as pd
import pytest

from napari_unfold.errors import InputError
from napari_unfold.tables.select import Condition, conditions_of, select


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "frame": [0, 0, 1, 2],
            "x_nm": [10.0, 20.0, 30.0, 40.0],
            "y_nm": 5.0,
            "photons": [400.0, 500.0, 900.0, np.nan],
        }
    )


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("photons > 500", [False, False, True, False]),
        ("photons>=500", [False, True, True, False]),
        ("500 >= Photons", [True, True, False, False]),
        ("400 < photons <= 900", [False, True, True, False]),
        ("900 >= photons > 400", [False, True, True, False]),
        ("frame = 0", [True, True, False, False]),
        ("frame == 2", [False, False, False, True]),
        ("x < 2.5e1", [True, True, False, False]),
        ("photons < inf", [True, True, True, False]),
    ],
)
def test_a_condition_keeps_what_it_says(table, text: str, kept: list[bool]) -> None:
    assert select(table, conditions_of(text)).tolist() == kept


def test_all_conditions_must_hold(table) -> None:
    conditions = [*conditions_of("photons > 400"), *conditions_of("x_nm < 30")]
    assert select(table, conditions).tolist() == [False, True, False, False]
    assert select(table, []).all()


def test_a_condition_reads_as_it_is_written() -> None:
    assert [str(c) for c in conditions_of("80 < Sigma <= 160.5")] == [
        "sigma_nm > 80",
        "sigma_nm <= 160.5",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("photons", "'photons' is not a condition"),
        ("photons > many", "is not a condition"),
        ("photons > nan", "is not a condition"),
        ("3 > 2", "is not a condition"),
        ("1 < x_nm < 2 < 3", "is not a condition"),
        ("", "is not a condition"),
        ("colour > 3", "no column called 'colour'"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        conditions_of(text)


def test_a_column_that_the_table_lacks_is_named(table) -> None:
    with pytest.raises(InputError, match=r"no column 'sigma_nm'. It has frame, x_nm"):
        select(table, [Condition("sigma_nm", ">", 1.0)])
