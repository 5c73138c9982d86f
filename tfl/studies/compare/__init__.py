"""Did the transfer help? Methods against the same network from scratch."""
