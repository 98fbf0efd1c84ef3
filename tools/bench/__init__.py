"""What the service costs in time and money, measured against what others would have built: `make bench`."""
