"""Webhooks: the operator's endpoints that get events, their addresses and their secrets."""
