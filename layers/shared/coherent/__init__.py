"""What every function of the service shares: the edge, the models and the repositories."""
