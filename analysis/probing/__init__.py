"""What each layer knows of the labels, and what such a score is worth."""
