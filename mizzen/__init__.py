"""mizzen."""
