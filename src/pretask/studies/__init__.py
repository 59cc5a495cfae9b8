"""Many runs: grids, seeds, statistics, executors."""
