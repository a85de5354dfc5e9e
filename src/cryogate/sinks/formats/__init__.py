"""How an entry is written for a receiver: one line of ASCII that nothing in an event can break."""
