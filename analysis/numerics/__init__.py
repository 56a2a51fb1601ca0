"""Arithmetic on all cores: blocks of rows, half precision, standardising, logistic regression."""
