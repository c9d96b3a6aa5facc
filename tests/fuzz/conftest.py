"""Few cases by default; ``pytest --hypothesis-profile=whole tests/fuzz`` tries them all."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "whole",
    max_examples=2_500,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
