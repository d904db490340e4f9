"""The receiver's certificate: served as it is now, not as it was at the start."""
