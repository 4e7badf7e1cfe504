"""``python -m napari_unfold`` is the command line."""

from napari_unfold.cli import main

if __name__ == "__main__":
    main()
