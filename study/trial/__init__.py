"""One trial: its inputs, its training and evaluation, and its reports."""
