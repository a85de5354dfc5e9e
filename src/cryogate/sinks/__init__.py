"""Copies of the audit log for other systems: one file a receiver, one registry of them all."""
