"""MLflow lives here and nowhere else: it mirrors what the ledger already holds."""
