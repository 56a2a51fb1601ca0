"""From published files to encoded examples."""
