"""Conversations: what a client may say about them, and where they are kept."""
