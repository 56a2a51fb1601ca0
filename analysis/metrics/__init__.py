"""Every metric, named as published."""
