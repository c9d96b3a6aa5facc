"""Ray Tune and Optuna live here and nowhere else: proposals, workers, the driver."""
