"""Which backbone? Scores of frozen features, before any training."""
