"""Which values? Trials of keys of a config."""
