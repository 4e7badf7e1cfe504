"""Whatever is in a file: it is read, or refused in one sentence, within bounded time and memory.

Good files of every kind are damaged at random: bytes changed, cut out, doubled, cut off; numbers
made extreme. Each kind is read in a process of its own, which may neither take more than a few GB
nor longer than a while for one file, and must not crash. `UNFOLD_FUZZ` says how many files of each
kind are tried; 25 of each are tried in any case, always the same.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = int(os.environ.get("UNFOLD_FUZZ", "25"))
KINDS = {
    "tiff": None, "compressed tiff": None, "ome-tiff": None, "imagej tiff": None, "npy": None,
    "Picasso raw": None, "dax": None, "spe": None, "hdf5": "h5py", "ome-zarr": "zarr",
    "czi": "pylibCZIrw", "thunderstorm": None, "challenge": None, "smap": None, "decode csv": None,
    "picasso": "h5py", "decode": "h5py", "parquet": "pyarrow", "smlm": None, "smlm manifest": None,
    "preset": None, "record": None, "camera map": None, "map tiff": None,
}  # fmt: skip
"""All kinds of files that are read, and the package that some need."""

WORK = """
import json, os, random, resource, signal, sys, traceback, warnings
from pathlib import Path
sys.path[:0] = [str(Path(sys.argv[1]).parent)]
import hostile_files
warnings.simplefilter("error")
kind, folder, count, seed = sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))

class TooLong(BaseException):
    pass

def too_long(*_):
    raise TooLong

signal.signal(signal.SIGALRM, too_long)
print(json.dumps(hostile_files.run(kind, folder, count, seed, TooLong)))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits memory and time as POSIX does")
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    package = KINDS[kind]
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    here = str(Path(__file__))
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", WORK, here, kind, tmp_path, str(COUNT), "1"],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["foreign"] == [], told["foreign"][0]["traceback"]
    assert told["read"] + told["refused"] == COUNT
    assert told["refused"] > 0
