"""The search: proposals, workers and the driver. Only this package imports Ray."""
