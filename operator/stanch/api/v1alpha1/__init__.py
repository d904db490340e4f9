"""Group stanch.dev, version v1alpha1."""
