"""Kopf as a thin shell: watches become keys in our own queue. Nothing is decided or written here."""
