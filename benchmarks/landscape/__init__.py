"""Trajectories of optimizers on surfaces of two variables."""
