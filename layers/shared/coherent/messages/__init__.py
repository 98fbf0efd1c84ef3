"""Messages: what a client may say about them, where they are kept, and how they are purged."""
