"""The main job: right places, right light, any length, and what happens when it cannot go on."""

import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

from napari_unfold.errors import InputError, OutOfMemoryError
from napari_unfold.estimation.observe import observe_molecules
from napari_unfold.files.localizations import read_localizations
from napari_unfold.files.opening import open_stack
from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
from napari_unfold.files.stacks import Stack, as_stack
from napari_unfold.jobs import Note, Preview, Progress, Stage, run_to_end
from napari_unfold.reconstruction import reconstruct as module
from napari_unfold.reconstruction.prepare import prepare
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.reconstruction.so_far import psf_source
from napari_unfold.settings.microscope import Background, Camera, Optics
from napari_unfold.settings.recipe import Localization, Recipe, Solver
from napari_unfold.simulation.exposure import expose
from napari_unfold.simulation.scenes import render, simulate
from napari_unfold.simulation.simulated_microscope import EMCCD, MICROSCOPE
from napari_unfold.tables.evaluate import evaluate

FWHM_258 = Optics(psf_sigma_nm=258 / 2.3548)
SEEN = Recipe(optics=FWHM_258, camera=MICROSCOPE.camera)


def quick(**changes):
    """Return settings that take little time."""
    settings = {
        "optics": FWHM_258,
        "camera": MICROSCOPE.camera,
        "background": Background(photons=20.0),
        "solver": Solver(iterations=40, molecule_photons=1500.0),
    }
    return Recipe(**(settings | changes))


@pytest.fixture(scope="module")
def small():
    return simulate("random", frames=6, shape=(16, 20), density_per_um2=2, seed=8)


@pytest.mark.slow
@pytest.mark.parametrize("fidelity", ["gaussian", "kl"])
@pytest.mark.parametrize("upsampling", [1, 3, 4])
def test_a_molecule_lands_where_it_is(fidelity, upsampling):
    """One molecule in nm from the corner: image and table must agree with it (half a pixel!)."""
    y_nm, x_nm = 1237.0, 662.0
    light = render(np.array([y_nm]), np.array([x_nm]), np.array([4000.0]), (24, 16), 100.0, 109.6)
    camera = replace(EMCCD, excess_noise=1)
    frames = expose(np.repeat(light[None] + 20, 4, 0), camera, np.random.default_rng(0))
    recipe = quick(
        camera=camera.settings(Camera()),
        solver=Solver(
            fidelity=fidelity, iterations=300, upsampling=upsampling, molecule_photons=4000.0
        ),
    )
    result = run_to_end(reconstruct(as_stack(frames), recipe))
    fine_nm = 100 / upsampling
    row, column = np.unravel_index(result.image.argmax(), result.image.shape)
    assert abs((row + 0.5) * fine_nm - y_nm) <= 0.6 * fine_nm + 5
    assert abs((column + 0.5) * fine_nm - x_nm) <= 0.6 * fine_nm + 5
    table = result.localizations
    assert table["frame"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(table["y_nm"], y_nm, atol=10)
    np.testing.assert_allclose(table["x_nm"], x_nm, atol=10)
    np.testing.assert_allclose(table["photons"], 4000, rtol=0.06)
    assert result.image.shape == (24 * upsampling, 16 * upsampling)
    assert result.image.dtype == np.float32
    # the penalty dims the image a little, more without fine pixels to choose from
    assert 0.5 * 4000 < result.image.sum() < 1.2 * 4000


@pytest.mark.slow
@pytest.mark.parametrize("fidelity", ["gaussian", "kl"])
@pytest.mark.parametrize("preset", [None, DEFAULT_PRESET])
def test_dense_molecules_are_found_unknown_brightness_and_background(fidelity, preset):
    made = simulate("random", frames=8, shape=(40, 40), density_per_um2=3, seed=21)
    recipe = SEEN.model_copy(update={"solver": Solver(fidelity=fidelity, iterations=200)})
    result = run_to_end(reconstruct(as_stack(made.stack), recipe, preset and load_preset(preset)))
    at_100 = evaluate(result.localizations, made.truth, [100.0])[0]
    assert at_100.jaccard > 0.85
    assert at_100.rmse_nm < 30


@pytest.mark.slow
@pytest.mark.parametrize("photons", [150, 15_000])
def test_the_preset_works_at_any_brightness(photons):
    made = simulate(
        "random", frames=8, shape=(40, 40), density_per_um2=1, seed=22, molecule_photons=photons,
        background_photons=0.01 * photons,
    )  # fmt: skip
    recipe = SEEN
    result = run_to_end(reconstruct(as_stack(made.stack), recipe, load_preset(DEFAULT_PRESET)))
    assert evaluate(result.localizations, made.truth, [250.0])[0].jaccard > 0.8
    assert result.molecule_photons == pytest.approx(photons, rel=0.4)


def test_of_the_camera_its_type_is_enough_and_the_record_holds_what_was_found():
    made = simulate("random", frames=30, shape=(32, 32), density_per_um2=1, seed=8)
    stack = as_stack(made.stack)
    result = run_to_end(reconstruct(stack, quick(camera=Camera(type="emccd"))))
    used = Recipe.model_validate(result.record["recipe"])
    assert used.camera.offset_adu == pytest.approx(100, abs=10)
    assert used.camera.adu_per_photon == pytest.approx(2, rel=0.2)
    assert any("Camera estimated" in note for note in result.record["notes"])
    again = run_to_end(reconstruct(stack, used))
    pd.testing.assert_frame_equal(result.localizations, again.localizations)


def test_events_tell_what_happens(small):
    events = []
    run_to_end(reconstruct(as_stack(small.stack), quick(background=Background())), events.append)
    assert isinstance(events[0], Stage)
    assert any(isinstance(e, Note) and "Background" in e.text for e in events)
    done = [e.done for e in events if isinstance(e, Progress)]
    assert done == sorted(done)
    assert done[-1] == 6
    assert any(isinstance(e, Preview) and e.image.shape == (64, 80) for e in events)


@pytest.mark.slow
def test_the_record_can_be_written_as_json_and_repeats_the_run(small):
    import json

    stack = as_stack(small.stack, "cells")
    result = run_to_end(reconstruct(stack, quick(), frames=slice(1, 4)))
    record = json.loads(json.dumps(result.record))
    assert record["stack"] == {"name": "cells", "shape": [6, 16, 20], "frames": [1, 4]}
    again = run_to_end(
        reconstruct(stack, Recipe.model_validate(record["recipe"]), frames=slice(1, 4))
    )
    pd.testing.assert_frame_equal(result.localizations, again.localizations)
    assert record["localizations"] == len(result.localizations)


def test_the_record_tells_what_the_preset_made_of_the_settings(small):
    preset = load_preset(DEFAULT_PRESET)
    asked = SEEN.model_copy(update={"solver": Solver(penalty="l1", iterations=3)})
    result = run_to_end(reconstruct(as_stack(small.stack), asked, preset, frames=slice(0, 1)))
    used = result.record["recipe"]["solver"]
    network = preset.networks["gaussian"]
    assert (used["penalty"], used["iterations"]) == (network.penalty, network.iterations)
    assert result.recipe.model_dump(mode="json") == result.record["recipe"]
    assert result.record["psf"]["sigma_nm"] == pytest.approx(SEEN.optics.psf_sigma_nm)
    assert result.record["psf"]["source"] == "as entered"
    assert result.psf.sum() == pytest.approx(1, rel=1e-5)


@pytest.mark.slow
def test_frames_are_chosen_and_keep_their_numbers(small):
    stack = as_stack(small.stack)
    whole = run_to_end(reconstruct(stack, quick())).localizations
    part = run_to_end(reconstruct(stack, quick(), frames=slice(2, 5)))
    expected = whole[whole["frame"].between(2, 4)].reset_index(drop=True)
    # sums in another order differ in the last digits, and crowded molecules feel it
    pd.testing.assert_frame_equal(part.localizations, expected, rtol=0.01, atol=1.0)


def a_preset(coupling):
    """Return the default preset with few iterations, and neighbouring frames coupled."""
    preset = load_preset(DEFAULT_PRESET)
    network = preset.networks["gaussian"]
    changed = {
        "step_sizes": network.step_sizes[:40], "l1_iterations": 10, "coupling": coupling,
    }  # fmt: skip
    return preset.model_copy(update={"networks": {"gaussian": network.model_copy(update=changed)}})


@pytest.fixture(scope="module")
def lasting():
    """Frames in which molecules stay on."""
    return simulate("random", frames=6, shape=(16, 20), density_per_um2=4, on_frames=8, seed=8)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("coupling", [0.0, 5.0])
def test_batches_do_not_change_the_result(lasting, coupling, batch, monkeypatch):
    stack, preset = as_stack(lasting.stack), a_preset(coupling)
    expected = run_to_end(reconstruct(stack, quick(), preset))
    monkeypatch.setattr(module, "_batch_size", lambda _setup: batch)
    result = run_to_end(reconstruct(stack, quick(), preset))
    np.testing.assert_allclose(result.image, expected.image, rtol=1e-3, atol=0.05)
    assert len(result.localizations) == len(expected.localizations)


def test_the_coupling_of_a_preset_can_be_left_out(lasting):
    seen = run_to_end(observe_molecules(as_stack(lasting.stack), quick(), slice(None)))
    cpu = torch.device("cpu")
    setups = [prepare(seen, a_preset(5.0), cpu, coupled=coupled) for coupled in (True, False)]
    assert [s.parameters.coupling for s in setups] == [5.0, 0.0]
    assert [s.with_neighbours(2, 4, 5) for s in setups] == [(1, 5), (2, 4)]
    assert [s.with_neighbours(0, 5, 5) for s in setups] == [(0, 5), (0, 5)]


def test_frames_on_both_sides_of_one_left_out_are_no_neighbours(lasting, tmp_path):
    spoilt = np.insert(lasting.stack, 3, 0, axis=0)
    path, images = tmp_path / "frames.tif", {}
    for part in (slice(0, 7), slice(0, 3), slice(4, 7)):
        job = reconstruct(as_stack(spoilt), quick(), a_preset(5.0), frames=part, save_frames=path)
        run_to_end(job)
        images[part.start, part.stop] = tifffile.imread(path)
    assert not images[0, 7][3].any()
    for start, stop in ((0, 3), (4, 7)):
        whole = images[0, 7][start:stop]
        np.testing.assert_allclose(whole, images[start, stop], rtol=1e-3, atol=0.05)
    # but neighbours do matter where nothing is left out
    run_to_end(reconstruct(as_stack(lasting.stack), quick(), a_preset(5.0), save_frames=path))
    assert abs(tifffile.imread(path)[2] - images[0, 7][2]).max() > 0.5


def test_every_frame_is_written_as_it_comes(small, tmp_path):
    path = tmp_path / "frames.tif"
    result = run_to_end(reconstruct(as_stack(small.stack), quick(), save_frames=path))
    frames = tifffile.imread(path)
    assert frames.shape == (6, 64, 80)
    np.testing.assert_allclose(frames.mean(axis=0), result.image, rtol=1e-4, atol=1e-4)
    with open_stack(path) as again:
        assert again.pixel_size_nm == pytest.approx(25.0)


def test_cancelling_keeps_the_previous_file_and_leaves_no_half(small, tmp_path):
    path = tmp_path / "frames.tif"
    path.write_bytes(b"previous")
    job = reconstruct(as_stack(small.stack), quick(), save_frames=path)
    for event in job:
        if isinstance(event, Progress) and event.done >= 1:
            break
    job.close()
    assert path.read_bytes() == b"previous"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.parametrize("follow", ["off", "auto"])
def test_memory_does_not_grow_with_the_number_of_frames(follow):
    made = simulate("random", frames=1, shape=(16, 16), density_per_um2=1, seed=0)
    frame = made.stack[0]  # its two molecules stay on and on

    def peak(n_frames):
        stack = Stack(
            "endless", (n_frames, 16, 16), np.dtype(np.uint16),
            lambda start, stop: np.repeat(frame[None], stop - start, 0),
        )  # fmt: skip
        recipe = quick(
            solver=Solver(iterations=2, molecule_photons=1500.0),
            localization=Localization(follow=follow),
        )
        tracemalloc.start()
        for event in reconstruct(stack, recipe):
            if isinstance(event, Progress) and event.done == n_frames:
                break
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak_bytes

    # the table grows by about 150 bytes a row; the 1600 frames themselves would be 1.6 MB
    peak(8)  # what is loaded once does not count
    assert peak(2000) < peak(400) + 1_000_000


@pytest.mark.slow
def test_out_of_memory_goes_on_with_smaller_batches(small, monkeypatch):
    original, sizes = module.unfold, []

    def hungry(network, y, b, follows, wanted):
        sizes.append(len(y))
        if len(y) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(network, y, b, follows, wanted)

    expected = run_to_end(reconstruct(as_stack(small.stack), quick()))
    monkeypatch.setattr(module, "unfold", hungry)
    monkeypatch.setattr(module, "_batch_size", lambda _setup: 4)
    events = []
    result = run_to_end(reconstruct(as_stack(small.stack), quick()), events.append)
    assert sizes == [4, 2, 1, 1, 1, 1, 1, 1]
    assert any(isinstance(e, Note) and "memory" in e.text for e in events)
    assert len(result.localizations) == len(expected.localizations)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
    ids=["numpy", "GPU", "processor"],
)
def test_whoever_runs_out_of_memory_the_batch_is_halved(error):
    setup = SimpleNamespace(device=torch.device("cpu"))
    assert run_to_end(module._smaller_batch(8, setup, error)) == 4
    with pytest.raises(RuntimeError, match="something else"):
        run_to_end(module._smaller_batch(8, setup, RuntimeError("something else")))


def test_out_of_memory_for_a_single_frame_is_explained(small, monkeypatch):
    def too_hungry(network, y, b, follows, wanted):
        raise MemoryError

    monkeypatch.setattr(module, "unfold", too_hungry)
    with pytest.raises(OutOfMemoryError, match=r"does not fit into the memory.*Crop"):
        run_to_end(reconstruct(as_stack(small.stack), quick()))


def test_an_empty_stack_gives_an_empty_table():
    frames = expose(np.full((4, 16, 16), 20.0), EMCCD, np.random.default_rng(1))
    result = run_to_end(reconstruct(as_stack(frames), SEEN))
    assert len(result.localizations) == 0
    assert {"frame", "x_nm", "y_nm", "photons"} <= set(result.localizations.columns)


@pytest.mark.slow
def test_a_dark_stack_with_read_noise_gives_no_molecules():
    """Read noise that the settings leave out is noticed, said, and not taken for molecules."""
    frames = np.random.default_rng(2).normal(100, 2, (20, 32, 32)).astype(np.float32)
    events = []
    result = run_to_end(reconstruct(as_stack(frames), SEEN), events.append)
    texts = [e.text for e in events if isinstance(e, Note)]
    assert any("scatter by 1 photons" in text for text in texts)
    assert any("No molecules stand out" in text for text in texts)
    assert len(result.localizations) == 0
    assert result.record["notes"] == texts


@pytest.mark.slow
def test_a_large_frame_runs_in_blocks():
    made = simulate("random", frames=1, shape=(150, 130), density_per_um2=0.3, seed=2)
    recipe = quick(solver=Solver(iterations=100, molecule_photons=1500.0))
    result = run_to_end(reconstruct(as_stack(made.stack), recipe))
    assert evaluate(result.localizations, made.truth, [100.0])[0].jaccard > 0.9


@pytest.mark.slow
def test_a_measured_psf_and_a_background_map(small, tmp_path):
    bead = render(np.array([1550.0]), np.array([1550.0]), np.array([1e5]), (31, 31), 100.0, 109.6)
    tifffile.imwrite(tmp_path / "bead.tif", (bead + 100).astype(np.float32))
    tifffile.imwrite(tmp_path / "map.tif", np.full((16, 20), 20, np.float32))
    recipe = quick(
        optics=Optics(psf_image=tmp_path / "bead.tif"),
        background=Background(photons=tmp_path / "map.tif"),
        solver=Solver(iterations=150, molecule_photons=1500.0),
    )
    result = run_to_end(reconstruct(as_stack(small.stack), recipe))
    gaussian = run_to_end(reconstruct(as_stack(small.stack), quick(solver=recipe.solver)))
    ours, theirs = (evaluate(r.localizations, small.truth, [100.0])[0] for r in (result, gaussian))
    assert ours.jaccard > theirs.jaccard - 0.1
    assert ours.jaccard > 0.7


@pytest.mark.parametrize(
    ("frames", "changes", "message"),
    [
        (np.full((4, 16, 16), 20), {}, "darker than the camera offset"),
        (np.full((4, 5, 40), 140), {}, "smaller than the PSF"),
        (np.full((4, 16, 16), 140), {"optics": Optics()}, "size of the PSF is missing"),
        (np.full((4, 16, 16), 140), {"background": Background(photons="none.tif")}, "no file"),
    ],
)
def test_bad_input_is_refused_before_anything_is_computed(frames, changes, message, tmp_path):
    settings = {"optics": FWHM_258, "camera": MICROSCOPE.camera} | changes
    path = tmp_path / "frames.tif"
    with pytest.raises(InputError, match=message) as error:
        run_to_end(
            reconstruct(as_stack(frames.astype(np.uint16)), Recipe(**settings), save_frames=path)
        )
    assert error.value.remedy
    assert error.value.field
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("frames", [slice(6, 9), slice(3, 3), slice(5, 2)])
def test_frames_that_do_not_exist(small, frames):
    with pytest.raises(InputError, match="do not exist in a stack of 6 frames"):
        run_to_end(reconstruct(as_stack(small.stack), quick(), frames=frames))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fwhm_nm", "frames", "at_50", "at_100"),
    [
        ("microtubules_odd", 258.0, slice(0, 181, None), 0.62, 0.80),
        ("random_density6", 250.0, slice(6, 20), 0.80, 0.90),
    ],
)
def test_published_stacks(shared_data, name, fwhm_nm, frames, at_50, at_100):
    """Better than 3D-DAOSTORM, tuned: 0.38 / 0.60 and 0.55 / 0.72 on these stacks."""
    from napari_unfold.files.localizations import read_localizations

    folder = shared_data / "deep-storm"
    recipe = Recipe(optics=Optics(psf_sigma_nm=fwhm_nm / 2.3548), camera=MICROSCOPE.camera)
    with open_stack(folder / f"{name}.tif") as stack:
        result = run_to_end(reconstruct(stack, recipe, load_preset(DEFAULT_PRESET), frames=frames))
    truth = read_localizations(folder / f"{name}_truth.csv")
    compared = range(*frames.indices(181))
    scores = evaluate(result.localizations, truth, [50.0, 100.0], compared)
    assert scores[0].jaccard >= at_50
    assert scores[1].jaccard >= at_100


def test_settings_of_localization_are_used(small):
    bright = quick(localization=Localization(min_photons_fraction=1.0))
    table = run_to_end(reconstruct(as_stack(small.stack), bright)).localizations
    assert table["photons"].min() >= 1500


@pytest.fixture(scope="module")
def staying():
    """Thirty molecules in view that stay on for eight frames in the mean."""
    return simulate("random", frames=70, shape=(24, 24), density_per_um2=1, on_frames=8, seed=9)


def reconstructed(made, follow):
    recipe = quick(localization=Localization(follow=follow))
    notes = []
    job = reconstruct(as_stack(made.stack), recipe)
    result = run_to_end(job, lambda e: notes.append(e.text) if isinstance(e, Note) else None)
    return result, notes


@pytest.mark.slow
def test_molecules_that_stay_on_are_fitted_as_one(staying, tmp_path):
    single, _ = reconstructed(staying, "off")
    followed, notes = reconstructed(staying, "auto")
    assert "track" not in single.localizations
    assert single.molecules is None
    assert any("Molecules stay on for about" in note for note in notes)
    assert notes == followed.record["notes"][-len(notes) :]
    before, after = (
        evaluate(r.localizations, staying.truth, (50.0,))[0] for r in (single, followed)
    )
    assert after.jaccard > before.jaccard
    assert after.rmse_nm < 0.7 * before.rmse_nm
    followed.save(tmp_path)
    assert len(read_localizations(tmp_path / "molecules.csv")) == len(followed.molecules)
    single.save(tmp_path / "single")
    assert not (tmp_path / "single" / "molecules.csv").exists()


def test_frames_that_show_other_molecules_each_are_left_to_themselves(small):
    (automatic, _), (off, _) = (reconstructed(small, follow) for follow in ("auto", "off"))
    pd.testing.assert_frame_equal(automatic.localizations, off.localizations)


def test_that_too_few_molecules_can_be_followed_is_said(small):
    _, notes = reconstructed(small, "on")
    assert any("stay on" in note or "Too few" in note for note in notes)


@pytest.mark.parametrize(
    ("optics", "refined", "source"),
    [
        ({"psf_sigma_nm": 110}, False, "as entered"),
        ({}, False, "from the data"),
        ({"psf_image": "bead.tif"}, False, "image of a bead"),
        ({"psf_sigma_nm": 110}, True, "measured on lone spots"),
    ],
)
def test_it_is_said_where_the_psf_is_from(optics, refined, source):
    seen = SimpleNamespace(refined=refined)
    assert psf_source(seen, Optics.model_validate(optics)) == source
