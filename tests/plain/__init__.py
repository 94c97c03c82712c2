"""Slow plain-Python twins of the fast kernels, written from the specs alone: the judges in the tests."""
