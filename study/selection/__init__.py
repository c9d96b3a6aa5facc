"""The choice of the configurations to test, by validation alone."""
