"""The simulator: the real deciders over a modelled world."""
