"""Where the trials of a study are made: a file for each kind of place."""
