"""Results of studies as numbers: typed records, statistics, comparisons. No words, no charts."""
