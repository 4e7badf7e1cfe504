"""Frames whose molecules are known."""
