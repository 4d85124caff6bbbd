"""Padam, partially adaptive momentum estimation, for Optax."""
