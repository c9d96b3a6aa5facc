"""MLflow, which mirrors what the ledger holds; no other room but this one imports it."""
