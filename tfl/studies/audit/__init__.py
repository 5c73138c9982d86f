"""What a run hides behind its accuracy: `audit.audit` asks, section by section, and `told.told` says it, the worst first."""
