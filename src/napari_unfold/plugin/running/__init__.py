"""A job in a thread, and what it shows while it runs."""
