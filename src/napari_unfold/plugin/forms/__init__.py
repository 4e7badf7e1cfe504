"""Rows, editors and one form for each job."""
