"""The authorization server: who are you, and what may you do, as short-lived bound tokens."""
