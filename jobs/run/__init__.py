"""Running jobs: in this process or on Ray, with logs, progress and provenance."""
