"""Scheduled exercises of policies: which are due, and making them."""
