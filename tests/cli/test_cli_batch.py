"""Many stacks with one recipe: each by itself, whatever happens to the others."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_unfold.errors import InputError
from napari_unfold.files.opening import open_stack
from napari_unfold.reconstruction.into_folder import Request
from napari_unfold.reconstruction.many_stacks import ManyStacks
from napari_unfold.settings.recipe import Recipe

SETTINGS = (
    "--preset", "none", "--iterations", "10", "--psf-fwhm-nm", "258", "--camera", "emccd",
    "--camera-offset", "100", "--adu-per-photon", "2", "--molecule-photons", "1000",
)  # fmt: skip


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "batch.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def night(tmp_path_factory, run_cli):
    """Make a folder with two stacks, a damaged one between them, and what is no stack."""
    folder = tmp_path_factory.mktemp("night")
    for name, seed in (("cell 2", 1), ("cell 10", 2)):
        run_cli(
            "simulate", folder / f"{name}.tif", "--scene", "random", "--frames", 3, "--size", 16,
            "--seed", seed,
        )  # fmt: skip
    (folder / "cell 9.tif").write_bytes(b"not what it seems")
    return folder


@pytest.fixture(scope="module")
def batch(night, tmp_path_factory, run_cli):
    """Reconstruct them; return the folder of the results, and what was said."""
    out = tmp_path_factory.mktemp("results")
    return out, run_cli("batch", night, "--out", out, *SETTINGS, status=1)


def test_a_bad_stack_is_listed_and_does_not_stop_the_rest(batch):
    out, said = batch
    outcomes = {Path(row["file"]).name: row["outcome"] for row in rows(out)}
    assert outcomes == {"cell 2.tif": "done", "cell 9.tif": "failed", "cell 10.tif": "done"}
    first, bad, last = rows(out)
    assert "is not a TIFF file" in bad["error"]
    for row in (first, last):
        record = json.loads((Path(row["folder"]) / "run.json").read_text())
        assert int(row["localizations"]) == record["localizations"]
        assert row["verdict"] == record["verdict"]["summary"]
        assert not row["error"]
    assert said.splitlines()[-1].endswith("Failed: cell 9.tif")


def test_each_result_is_that_of_the_stack_alone(night, batch, tmp_path, run_cli):
    out, _ = batch
    run_cli("reconstruct", night / "cell 10.tif", "--out", tmp_path, *SETTINGS)
    for name in ("localizations.csv", "reconstruction.tif"):
        assert (out / "cell 10" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_what_is_done_is_skipped_while_the_recipe_is_the_same(night, batch, run_cli):
    out, _ = batch
    table = out / "cell 2" / "localizations.csv"
    written = table.stat().st_mtime_ns
    run_cli("batch", night, "--out", out, *SETTINGS, status=1)
    assert [row["outcome"] for row in rows(out)] == ["done earlier", "failed", "done earlier"]
    assert table.stat().st_mtime_ns == written
    run_cli("batch", night / "cell 2.tif", "--out", out, *SETTINGS, "--background", 25)
    assert [row["outcome"] for row in rows(out)] == ["done"]
    assert table.stat().st_mtime_ns > written


def test_the_recipe_of_an_earlier_run_is_taken(night, tmp_path, run_cli):
    one, again = tmp_path / "one", tmp_path / "again"
    run_cli("batch", night / "cell 2.tif", "--out", one, *SETTINGS)
    record = one / "cell 2" / "run.json"
    run_cli("batch", night / "cell 2.tif", "--out", again, "--recipe", record)
    table = Path("cell 2") / "localizations.csv"
    assert (one / table).read_bytes() == (again / table).read_bytes()

    of_another = json.loads(record.read_text())
    of_another["given"]["optics"]["pixel_size_nm"] = 130
    record.write_text(json.dumps(of_another))
    options = ("batch", night / "cell 2.tif", "--out", again, "--recipe", record)
    run_cli(*options, status=1)
    (row,) = rows(again)
    assert "states pixels of 100 nm, the recipe 130 nm" in row["error"]
    run_cli(*options, "--pixel-size-nm", 100)
    assert (one / table).read_bytes() == (again / table).read_bytes()


def test_a_program_is_told_of_every_stack(night, batch, run_cli):
    out, _ = batch
    said = run_cli("batch", night, "--out", out, *SETTINGS, "--json", status=1)
    results = [
        event for line in said.splitlines() if (event := json.loads(line))["event"] == "result"
    ]
    first, *each, last = results
    assert first["files"] == [entry["file"] for entry in each]
    assert [entry["outcome"] for entry in each][1] == "failed"
    assert last["failed"] == ["cell 9.tif"]


def test_settings_that_cannot_be_are_refused_before_anything_is_computed(night, tmp_path, refused):
    out = tmp_path / "out"
    assert "--camera-offset" in refused("batch", night, "--out", out, "--camera-offset", "1e9")
    assert "there is no file" in refused("batch", night / "none", "--out", out)
    (tmp_path / "empty").mkdir()
    assert "there are no stacks" in refused("batch", tmp_path / "empty", "--out", out)
    assert not out.exists()


def stacks_of(*files: Path) -> list[Path]:
    for path in files:
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(path, np.full((2, 8, 8), 120, np.uint16))
    return list(files)


def many(stacks: list[Path], out: Path) -> ManyStacks:
    return ManyStacks(stacks, out, open_stack, lambda _: Request(Recipe()))


def test_an_interrupted_batch_tells_what_is_left(tmp_path):
    batch = many(stacks_of(tmp_path / "a.tif", tmp_path / "b.tif"), tmp_path / "out")
    job = batch.job(0)
    next(job)
    job.close()
    assert [row["outcome"] for row in rows(tmp_path / "out")] == ["interrupted", "waiting"]


def test_results_are_called_as_the_stacks(tmp_path):
    named = stacks_of(tmp_path / "a.ome.tif", tmp_path / "b.tif", tmp_path / "B.tiff")
    batch = many(named, tmp_path / "out")
    assert [entry.folder.name for entry in batch.entries] == ["a", "b.tif", "B.tiff"]
    twice = stacks_of(tmp_path / "one" / "a.tif", tmp_path / "two" / "a.tif")
    with pytest.raises(InputError, match="2 stacks have the name"):
        many(twice, tmp_path / "out")
