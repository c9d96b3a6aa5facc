"""MLflow behind a study: its runs, its registry, its server."""
