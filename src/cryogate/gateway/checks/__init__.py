"""The checks of the pipeline, one file each, independent of each other."""
