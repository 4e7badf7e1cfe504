"""PyTorch is loaded while the window goes on.

Whoever imports holds the interpreter's lock while a library is opened (0.4 s for PyTorch's largest)
and while garbage is collected (0.1 to 0.3 s, more often the more is imported). The first is done
beforehand by a call that gives the lock away, the second put off.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_unfold.jobs import Job, Stage

_LARGEST = {"linux": "libtorch_cpu.so", "darwin": "libtorch_cpu.dylib"}


def load(*modules: str) -> Job[None]:
    """Import modules that need PyTorch, if they are not there yet.

    Parameters
    ----------
    *modules : str
        Their names.
    """
    missing = [name for name in modules if name not in sys.modules]
    if not missing:
        return
    yield Stage("Loading PyTorch")
    _open_largest_library()
    with _without_collecting():
        for name in missing:
            importlib.import_module(name)


def _open_largest_library() -> None:
    """Open PyTorch's largest library; a function of C gives the lock away, an import does not."""
    torch = None if "torch" in sys.modules else importlib.util.find_spec("torch")
    name = _LARGEST.get(sys.platform)
    if torch is None or torch.origin is None or name is None:
        return
    library = Path(torch.origin).parent / "lib" / name
    if library.is_file():
        dlopen = ctypes.CDLL(None).dlopen
        dlopen.argtypes, dlopen.restype = [ctypes.c_char_p, ctypes.c_int], ctypes.c_void_p
        dlopen(str(library).encode(), os.RTLD_NOW)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Collect no garbage meanwhile; what is there afterwards stays, and is not looked at again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
