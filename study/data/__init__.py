"""Images, classes and shots: everything a trial learns from, and nothing of the method."""
