"""Frozen activations: computed once, kept on disk, read by every phase, head and sweep that needs them."""
