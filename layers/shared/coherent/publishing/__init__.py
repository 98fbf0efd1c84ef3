"""Publishes changes: to webhooks, to the event bus and to the feeds of their users."""
