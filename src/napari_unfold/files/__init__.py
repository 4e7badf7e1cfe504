"""Files in and out: image stacks, localization tables, presets, results."""
