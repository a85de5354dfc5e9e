"""Money, approvals and the experiments they belong to."""
