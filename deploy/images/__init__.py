"""Container images built on the spot from what the box has, for demos and tests where no registry answers."""
