"""The reproduction of published results in one folder that can be sent to others."""
