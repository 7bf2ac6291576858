"""The compiled packet path and the control loops over it."""
