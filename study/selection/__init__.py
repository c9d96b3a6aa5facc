"""Who is confirmed on test, chosen by validation alone."""
