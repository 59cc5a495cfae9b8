"""Several processes as one run: ranks, gathering with gradient, agreement, sharding."""
