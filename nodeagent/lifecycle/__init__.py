"""What happens to a pod on its node, decided in values: no input, no output, no clock."""
