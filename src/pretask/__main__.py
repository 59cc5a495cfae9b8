"""`python -m pretask` is the command line."""

from pretask.cli import main

main()
