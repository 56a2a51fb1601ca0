"""A study as a file, the jobs it plans, the disk they take and their results."""
