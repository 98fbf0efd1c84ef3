"""Changes of conversations and messages: read from the tables' streams, kept in a feed, and published as events."""
