"""The kinds of job: one file each, its settings above its function."""
