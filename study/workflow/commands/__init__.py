"""A module a command: its arguments, and the function that has the module's name.

Each is imported before its arguments are read, so it imports what is slow inside its function.
"""
