"""Requests that this server makes to addresses others named: guarded, bounded, never trusted."""
