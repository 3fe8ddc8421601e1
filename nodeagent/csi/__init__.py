"""Storage drivers of the node (CSI): who has registered, and what they are asked to do for pods."""
