"""What an SRE sees of the operator itself: logs, metrics, probes."""
