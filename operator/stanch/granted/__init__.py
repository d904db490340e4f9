"""What the operator is granted, declared once: its account's manifests and their reference follow."""
