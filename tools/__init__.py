"""Development tools: the local stack, the API description, lint and benchmarks."""
