"""Tables of every program end in one convention: nm from the corner, frames from 0."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_unfold.errors import InputError
from napari_unfold.files.localizations import read_localizations, write_localizations
from napari_unfold.tables.columns import COLUMNS, Column, empty_table

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the collected localization files are not here"
)

THUNDERSTORM = (
    '"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]","offset [photon]",'
    '"bkgstd [photon]"\n1,1,67.843,2484.15594,111.28713,2458.46515,50,4.47214\n'
)


@pytest.fixture
def file(tmp_path: Path):
    def write(text: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "locs.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def first(path: Path, **options: object) -> dict[str, float]:
    return read_localizations(path, **options).iloc[0].to_dict()


class TestThunderStorm:
    def test_generator_export(self, file) -> None:
        assert first(file(THUNDERSTORM)) == {
            "frame": 0,
            "x_nm": 67.843,
            "y_nm": 2484.15594,
            "sigma_nm": 111.28713,
            "photons": 2458.46515,
            "background_photons": 50,
            "noise_photons": 4.47214,
        }

    @pytest.mark.parametrize("name", ["uncertainty", "uncertainty_xy"])
    def test_uncertainty_of_old_and_new_releases(self, file, name: str) -> None:
        path = file(f'"id","frame","x [nm]","y [nm]","{name} [nm]","detections"\n1,3,1,2,9.5,4\n')
        row = first(path)
        assert (row["frame"], row["uncertainty_nm"], row["detections"]) == (2, 9.5, 4)

    @pytest.mark.parametrize(
        ("unit", "value"), [("nm", "250"), ("um", "0.25"), ("µm", "0.25"), ("px", "2.5")]
    )
    def test_lengths_in_any_unit(self, file, unit: str, value: str) -> None:
        path = file(f'"frame","x [{unit}]","y [{unit}]","sigma [{unit}]"\n1,{value},0,{value}\n')
        row = first(path, pixel_size_nm=100)
        assert row["x_nm"] == pytest.approx(250)
        assert row["sigma_nm"] == pytest.approx(250)

    def test_micrometres_in_the_encoding_of_windows(self, file) -> None:
        path = file('"frame","x [µm]","y [µm]"\n1,0.25,0\n', encoding="latin-1")
        assert first(path)["x_nm"] == pytest.approx(250)

    def test_pixels_need_a_pixel_size(self, file) -> None:
        path = file('"frame","x [px]","y [px]"\n1,2,3\n')
        with pytest.raises(InputError, match="pixel size") as caught:
            read_localizations(path)
        assert caught.value.field == "optics.pixel_size_nm"

    def test_grey_values_are_not_taken_for_photons(self, file) -> None:
        path = file('"frame","x [nm]","y [nm]","intensity [ADU]"\n1,2,3,4000\n')
        assert "photons" not in read_localizations(path)

    def test_unknown_numbers(self, file) -> None:
        path = file('"frame","x [nm]","y [nm]","uncertainty [nm]"\n1,2,3,NaN\n2,3,4,Infinity\n')
        assert read_localizations(path)["uncertainty_nm"].isna().all()

    def test_windows_line_ends_byte_order_mark_and_blank_lines(self, file) -> None:
        path = file("\ufeff" + THUNDERSTORM.replace("\n", "\r\n") + "\r\n")
        assert len(read_localizations(path)) == 1

    def test_spreadsheet_quotes_around_the_header(self, file) -> None:
        path = file('"id,""frame"",""x [nm]"",""y [nm]"""\n7.0,2001.0,1.5,2.5\n')
        assert first(path) == {"frame": 2000, "x_nm": 1.5, "y_nm": 2.5}

    @pytest.mark.parametrize("separator", [";", "\t"])
    def test_other_separators(self, file, separator: str) -> None:
        path = file(THUNDERSTORM.replace(",", separator))
        assert first(path)["y_nm"] == 2484.15594

    def test_table_without_rows(self, file) -> None:
        pd.testing.assert_frame_equal(
            read_localizations(file(THUNDERSTORM.splitlines()[0])), empty_table()
        )

    @pytest.mark.parametrize("cell", ["NaN", "1.5", "1e300", ""])
    def test_tracks_that_are_not_known_of_all_are_left_out(self, file, cell: str) -> None:
        rows = f"1,2,3,5\n2,3,4,{cell}\n"
        table = read_localizations(file(f'"frame","x [nm]","y [nm]","track"\n{rows}'))
        assert list(table) == ["frame", "x_nm", "y_nm"]

    def test_frames_without_end(self, file) -> None:
        with pytest.raises(InputError, match="frame 1e\\+300 cannot be"):
            read_localizations(file('"frame","x [nm]","y [nm]"\n1e300,2,3\n'))


class TestPicasso:
    # frames from 0, id from 0, no quotes, positions from the centre of the first pixel
    TEXT = (
        "id,frame,x [nm],y [nm],sigma [nm],intensity [photon],offset [photon],bkgstd [photon],"
        "uncertainty_xy [nm]\n0,4,100.0,250.0,130.0,900,12,0,8.5\n"
    )

    def test_half_a_pixel_is_added(self, file) -> None:
        row = first(file(self.TEXT), pixel_size_nm=160)
        assert (row["frame"], row["x_nm"], row["y_nm"]) == (4, 180, 330)
        assert (row["sigma_nm"], row["uncertainty_nm"]) == (130, 8.5)

    def test_pixel_size_is_needed(self, file) -> None:
        with pytest.raises(InputError, match=r"Picasso.*pixel size"):
            read_localizations(file(self.TEXT))

    def test_the_same_file_from_thunderstorm_by_request(self, file) -> None:
        row = first(file(self.TEXT), dialect="thunderstorm")
        assert (row["frame"], row["x_nm"]) == (3, 100)

    def test_an_unquoted_table_with_id_from_one_is_thunderstorm(self, file) -> None:
        row = first(file(self.TEXT.replace("\n0,", "\n1,")))
        assert (row["frame"], row["x_nm"]) == (3, 100)


def test_websmlm_by_request(file) -> None:
    text = "id,frame,x [nm],y [nm],uncertainty [nm],extra\n1,1,100,200,7,5\n"
    row = first(file(text), dialect="websmlm", pixel_size_nm=100)
    assert (row["frame"], row["x_nm"], row["y_nm"], row["uncertainty_nm"]) == (0, 150, 250, 7)


class TestChallenge:
    @pytest.mark.parametrize(
        "header",
        [
            "Ground-truth,frame,xnano,ynano,znano,intensity",
            "Ground-truth, frame, xnano, ynano, znano, intensity ",
            "index, frame, xnano, ynano, znano, intensity",
        ],
    )
    def test_ground_truth(self, file, header: str) -> None:
        assert first(file(f"{header}\n1, 20, 12.5, 3450.25, -10, 2500\n")) == {
            "frame": 19,
            "x_nm": 12.5,
            "y_nm": 3450.25,
            "photons": 2500,
        }

    def test_standardized_file_without_a_header(self, file) -> None:
        table = read_localizations(file("1,12.5,3450.25,0,2500\n3,1,2,0,900\n"))
        assert table["frame"].tolist() == [0, 2]
        assert table["x_nm"].tolist() == [12.5, 1]
        assert table["photons"].tolist() == [2500, 900]


class TestDecode:
    COLUMNS = "x,y,z,phot,frame_ix,id,prob,bg\n"

    def text(self, metadata: str, row: str) -> str:
        version = '# {"version": "v0.10.0"}'
        return f"# DECODE EmitterSet\n{version}\n# {metadata}\n{self.COLUMNS}{row}\n"

    def test_pixels_from_the_centre_with_rows_first(self, file) -> None:
        text = self.text(
            '{"xy_unit": "px", "px_size": [127.0, 117.0]}', "10.0,2.0,0,1500,0,7,0.9,40"
        )
        row = first(file(text))
        assert row["y_nm"] == pytest.approx(10.5 * 127)
        assert row["x_nm"] == pytest.approx(2.5 * 117)
        assert (row["frame"], row["photons"], row["quality"]) == (0, 1500, 0.9)
        assert row["background_photons"] == 40

    def test_nanometres_from_the_centre(self, file) -> None:
        text = self.text('{"xy_unit": "nm", "px_size": [100.0, 100.0]}', "0,300,0,1,5,0,1,1")
        row = first(file(text))
        assert (row["frame"], row["y_nm"], row["x_nm"]) == (5, 50, 350)

    def test_pixel_size_not_in_the_file(self, file) -> None:
        path = file(self.text('{"xy_unit": "px", "px_size": null}', "0,3,0,1,5,0,1,1"))
        with pytest.raises(InputError, match="pixel size"):
            read_localizations(path)
        assert first(path, pixel_size_nm=100)["x_nm"] == 350


def test_deep_storm_notebook(file) -> None:
    row = first(file("frame,x [nm],y [nm],confidence [a.u]\n1,125.0,237.5,0.75\n"))
    assert row == {"frame": 0, "x_nm": 125, "y_nm": 237.5, "quality": 0.75}


@pytest.mark.parametrize(
    "header", ["frame,x_nm,y_nm", "frame, x_nm, y_nm", '"frame","x_nm","y_nm"']
)
def test_plain_table(file, header: str) -> None:
    assert first(file(f"{header}\n1,777.322,3753.639\n")) == {
        "frame": 0,
        "x_nm": 777.322,
        "y_nm": 3753.639,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("PK\0\1\0binary", "not a text file"),
        ("# only a comment\n", "has no table"),
        ("8.39,0.43\n8.50,0.39\n", "2 columns without a header.*first line"),
        ("a,b,c\n1,2,3\n", r"columns .* not known \(a, b, c\).*Known are ThunderSTORM"),
        ("frame,x_nm\n1,2\n", "no column 'y_nm'"),
        ('"id","x [nm]","y [nm]"\n1,2,3\n', "ThunderSTORM.*no column 'frame'"),
        ("frame,x_nm,y_nm\n1,2,3\n1,two,3\n", "line 3 .*'two' is not a number"),
        ("frame;x_nm;y_nm\n1;2,5;3\n", "line 2 .*'2,5'.*decimal mark"),
        ("frame,x_nm,y_nm\n1,2,3\n\n1,2\n", "line 4 .*coordinate y is missing"),
        ("frame,x_nm,y_nm\n1,2,inf\n", "line 2 .*coordinate y"),
        ("frame,x_nm,y_nm\n1,2,3\n1,2,3,4\n", "line 3 .*more cells"),
        ("frame,x_nm,y_nm\n1,2,3\n1,2,3,4,5,6\n", "line 3"),
        ("frame,x_nm,y_nm\n1,2,3\n0,2,3\n", "line 3 .*frame 0.*whole numbers from 1"),
        ("frame,x_nm,y_nm\n1.5,2,3\n", "line 2 .*frame 1.5"),
        ('"frame","x [mile]","y [mile]"\n1,2,3\n', "unit 'mile'"),
    ],
)
def test_bad_files_are_refused_with_the_line_and_a_remedy(file, text: str, message: str) -> None:
    path = file(text)
    with pytest.raises(InputError, match=message) as caught:
        read_localizations(path)
    assert str(path) in caught.value.problem
    assert caught.value.remedy


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        read_localizations(tmp_path / "missing.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_localizations(tmp_path)


def test_unknown_dialect(file) -> None:
    with pytest.raises(InputError, match=r"'klingon'.*thunderstorm"):
        read_localizations(file(THUNDERSTORM), dialect="klingon")


@needs_shared
def test_thunderstorm_generator_file() -> None:
    table = read_localizations(SHARED / "deep-storm" / "random_density6_truth.csv")
    assert len(table) == 4956
    assert sorted(table["frame"].unique()) == list(range(20))
    assert table["photons"].between(2000, 2500).all()
    assert table[["x_nm", "y_nm"]].to_numpy().max() < 6400


@needs_shared
def test_plain_files() -> None:
    truth = read_localizations(SHARED / "deep-storm" / "microtubules_odd_truth.csv")
    assert (len(truth), truth["frame"].min(), truth["frame"].max()) == (40848, 0, 180)
    peer = read_localizations(SHARED / "deep-storm" / "peers" / "random_density6__3d-daostorm.csv")
    assert (len(peer), peer["photons"].iloc[0]) == (4112, 2263.3)


@needs_shared
def test_thunderstorm_file_that_went_through_a_spreadsheet() -> None:
    table = read_localizations(SHARED / "formats" / "thunderstorm_1.3.csv")
    assert table["frame"].iloc[0] == 2000
    assert table["x_nm"].iloc[0] == pytest.approx(1320.109670647555)
    assert table["uncertainty_nm"].iloc[0] == pytest.approx(22.93255128689051)


@needs_shared
def test_table_without_header_and_frames() -> None:
    with pytest.raises(InputError, match="2 columns without a header"):
        read_localizations(SHARED / "sofi-tubulin" / "emitters_yx_px.csv")


def values_of(column: Column) -> st.SearchStrategy:
    """Return what a column may hold; a table does not know everything of every molecule."""
    if column.dtype == "int64":
        return st.integers(1, 10**9)
    known = st.floats(-1e6 if column.required else 0.0, 1e6)
    return known if column.required or column.name == "quality" else known | st.just(np.nan)


class TestWriting:
    def test_exactly_as_thunderstorm_writes(self, tmp_path: Path) -> None:
        table = pd.DataFrame(
            {
                "frame": [0, 11],
                "x_nm": [67.843, 1e-5],
                "y_nm": [2484.15594, 12345678.9],
                "sigma_nm": [111.28713, 100.0],
                "photons": [2458.46515, np.nan],
                "background_photons": [20.0, 20.0],
                "noise_photons": [4.47214, 4.0],
                "uncertainty_nm": [9.0, np.inf],
                "detections": [1, 3],
                "quality": [np.nan, np.nan],
            }
        )
        path = tmp_path / "locs.csv"
        write_localizations(table, path)
        assert path.read_bytes().decode() == (
            '"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]","offset [photon]",'
            '"bkgstd [photon]","uncertainty_xy [nm]","detections"\n'
            "1,1,67.84300,2484.15594,111.28713,2458.46515,20.00000,4.47214,9.00000,1\n"
            "2,12,0.00001,12345678.90000,100.00000,NaN,20.00000,4.00000,NaN,3\n"
        )

    def test_a_table_without_rows(self, tmp_path: Path) -> None:
        write_localizations(empty_table(), tmp_path / "locs.csv")
        assert (tmp_path / "locs.csv").read_text() == '"id","frame","x [nm]","y [nm]"\n'
        assert len(read_localizations(tmp_path / "locs.csv")) == 0

    def test_an_invalid_table_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "locs.csv"
        path.write_text("old")
        with pytest.raises(InputError, match="y_nm"):
            write_localizations(empty_table().drop(columns="y_nm"), path)
        assert path.read_text() == "old"

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such folder"):
            write_localizations(empty_table(), tmp_path / "nowhere" / "locs.csv")

    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        rows=st.lists(
            st.tuples(*map(values_of, COLUMNS)),
            min_size=1,
            max_size=20,
        )
    )
    def test_round_trip(self, tmp_path: Path, rows: list[tuple[float, ...]]) -> None:
        table = pd.DataFrame(rows, columns=[column.name for column in COLUMNS])
        path = tmp_path / "locs.csv"
        write_localizations(table, path)
        again = read_localizations(path)
        assert again["frame"].tolist() == table["frame"].tolist()
        assert again["detections"].tolist() == table["detections"].tolist()
        known = table.dropna(axis="columns", how="all")
        assert list(again) == list(known)
        np.testing.assert_allclose(again, known, rtol=0, atol=1e-5)
