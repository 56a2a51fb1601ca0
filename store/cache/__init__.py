"""The activation cache: what lies on disk, its writer and its reader."""
