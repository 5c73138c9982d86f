"""Questions asked of methods, without or beside a run."""
