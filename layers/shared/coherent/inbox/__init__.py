"""The inbox: conversations by last activity, with preview, unread count and timed mute."""
