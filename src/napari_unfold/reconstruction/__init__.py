"""The main job: a stack becomes an image and a localization table."""
