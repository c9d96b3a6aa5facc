"""The command line: a module a command, by its name, and what several of them share."""

NAMES = (
    *("run", "init", "config", "resume", "extend", "status"),
    *("list", "leaderboard", "report", "predict", "export", "sync"),
)
"""The names of all commands, in the order of the help."""
