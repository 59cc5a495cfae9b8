"""`python -m pretask` is the command line."""

from pretask.cli.main import main

main()
