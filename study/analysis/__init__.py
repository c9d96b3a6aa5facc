"""From a study's results to tables, statistics, plots and a report."""
