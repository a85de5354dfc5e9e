"""Vendors to try things with, without an account: they speak the vendors' wire formats."""
