"""Extraction in steps: its settings, what a cache will hold, its parts, and the job that writes them."""
