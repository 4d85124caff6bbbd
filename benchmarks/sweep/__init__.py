"""Grids and searches whose runs are divided among workers."""
