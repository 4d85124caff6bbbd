"""The commands: each file runs the one that it is named after."""
