"""One run: devices, steps, epochs, records, checkpoints."""
