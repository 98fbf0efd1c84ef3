"""The code that all functions share: HTTP handling, request models and DynamoDB repositories."""
