"""Tells people and their systems what waits for them, from a durable outbox, never on a request."""
