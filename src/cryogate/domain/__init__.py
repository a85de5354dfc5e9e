"""Nouns and rules of Cryogate: plain values, standard library only, no I/O."""
