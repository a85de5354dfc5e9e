"""The only road to a QPU: ordered checks, one transaction, then the effect."""
