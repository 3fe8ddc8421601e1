"""The drivers: they run the pure deciders against the real store. See README.md for the flow."""
