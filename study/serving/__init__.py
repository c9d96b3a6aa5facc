"""The tuned classifier that a model registry loads and that users call."""
