"""Recordings rewritten: the same traffic as another capture would have held it."""
