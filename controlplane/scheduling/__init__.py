"""Where pods go: a pure function over columns of numbers."""
