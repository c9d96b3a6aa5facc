"""Tables, statistics, plots and a report of a study's results."""
