"""The cost of an optimizer's step."""
