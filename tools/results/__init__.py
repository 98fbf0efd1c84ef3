"""Whether the service can be broken: by faults, by attacks, and by many users for minutes."""
