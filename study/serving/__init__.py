"""The tuned classifier that a registry loads and a user calls."""
