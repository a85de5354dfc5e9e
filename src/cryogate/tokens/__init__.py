"""Wire formats of tokens, assertions and proofs: one reading for makers and checkers."""
