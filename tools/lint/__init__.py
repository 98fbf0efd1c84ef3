"""The static checks of `make lint` that need more than a line."""
