"""Running a study from its check to its report, and showing its progress."""
