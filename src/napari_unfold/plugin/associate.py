"""A dropped CSV file opens with this plugin, which leaves to napari what is napari's."""

from __future__ import annotations

from fnmatch import fnmatch

PATTERN = "*.csv"


def associate_tables() -> bool:
    """Let napari open CSV files with this plugin, unless the user has chosen otherwise.

    Without it napari asks which plugin to take, and proposes one that cannot read localizations.

    Returns
    -------
    bool
        Whether anything was changed.
    """
    from napari.settings import get_settings

    settings = get_settings().plugins
    if any(fnmatch("/folder/table.csv", pattern) for pattern in settings.extension2reader):
        return False
    settings.extension2reader = {**settings.extension2reader, PATTERN: "napari-unfold"}
    return True
