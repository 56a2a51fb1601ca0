"""Artifacts: folders that exist if and only if they are complete, and the store that holds them."""
