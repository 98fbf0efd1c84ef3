"""Messages: request models, repository and purge."""

EMPTY_MESSAGE_FAULT = "message: must not be empty without attachments"
