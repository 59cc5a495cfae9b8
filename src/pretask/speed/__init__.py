"""What this machine can do, and how near training comes to it: `pretask speed`."""
