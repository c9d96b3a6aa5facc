"""What a study leaves on disk: whole files or none, with sums, as a ledger."""
