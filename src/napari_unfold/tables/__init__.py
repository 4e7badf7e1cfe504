"""What a localization table is, and what can be done with one."""
