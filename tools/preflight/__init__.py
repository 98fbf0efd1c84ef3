"""Asks an AWS account whether an environment of samconfig.toml can be deployed: `make preflight`."""
