"""The process of a command and its terminal, before any slow module is imported."""
