"""What napari sees. Nothing outside this package imports napari or Qt."""
