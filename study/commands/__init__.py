"""The command line: a module a command, by its name, and what several of them share."""
