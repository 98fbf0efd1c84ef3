"""The benchmarks: `make bench` measures what a call costs and writes docs/results/benchmarks.md."""
