"""The AWS clients, batches, and what both tables share: rows, conditions, transactions and idempotency records."""
