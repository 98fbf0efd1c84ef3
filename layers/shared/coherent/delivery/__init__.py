"""Delivery between the users of one stack."""
