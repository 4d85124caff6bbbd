"""Grids and searches, whose runs workers share."""
