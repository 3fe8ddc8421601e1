"""The `mizzen` command."""
