"""The AWS clients, and what both tables share: rows, conditions, transactions and idempotency records."""
