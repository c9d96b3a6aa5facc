"""The link between a study and MLflow: runs, model registry, server."""
