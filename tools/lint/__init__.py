"""Static checks of `make lint` that need more than one command."""
