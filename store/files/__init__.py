"""Files as the store needs them: whole or not at all, checked, locked, removed only where they are ours."""
