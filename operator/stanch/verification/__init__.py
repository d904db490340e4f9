"""Proof of recovery: checks are looked at in the background, and a pure function judges what came of it."""
