"""Stanch contains AI incidents on Kubernetes: stops a workload, holds it stopped, gives it back."""

__version__ = "0.1.0"
