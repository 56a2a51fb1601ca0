"""The embedded demo: a synthetic corpus and tiny models trained from nothing."""
