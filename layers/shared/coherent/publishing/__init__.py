"""What `publish_changes` does: changes go to webhooks, to the event bus and to the feeds of their users."""
