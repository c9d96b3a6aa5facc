"""A study from its check to its end, and what a user sees on the way."""
