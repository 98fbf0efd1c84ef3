"""The code that all functions share: HTTP handling, request models and DynamoDB repositories."""

import gc

# Imports create many objects and hardly any garbage. Fewer collections save 6 % of a cold start, measured by
# `make bench PARTS=cold` with this line and without it; a warm invocation creates too few objects to notice.
gc.set_threshold(100_000)
