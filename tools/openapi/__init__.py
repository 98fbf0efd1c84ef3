"""The API described for its clients, from the code that serves it."""
