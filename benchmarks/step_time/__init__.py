"""What a step of an optimizer takes."""
