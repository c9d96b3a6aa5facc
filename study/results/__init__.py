"""The numbers of studies: typed records, statistics, comparisons. No words, no charts."""
