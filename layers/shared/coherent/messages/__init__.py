"""Messages: request models, repository and purge."""
