"""The report: one self-contained HTML page from the result rows of a suite (page.py)."""
