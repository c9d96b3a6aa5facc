"""The configuration of a study: its schema, its files, and sweeps over it."""
