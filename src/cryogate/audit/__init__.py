"""The audit log: a Merkle tree over every event, its signed heads, and what verifies them."""
