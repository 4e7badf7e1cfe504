"""Plots, previews and comparisons."""
