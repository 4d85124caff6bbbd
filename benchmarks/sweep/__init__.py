"""Grids of runs, shared by workers."""
