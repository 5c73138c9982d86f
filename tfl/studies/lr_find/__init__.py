"""Which learning rate? The range test of a phase."""
