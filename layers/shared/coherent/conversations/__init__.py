"""Conversations: request models and repository."""
