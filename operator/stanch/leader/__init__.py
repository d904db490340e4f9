"""Who may write: a Lease as the fence between two operator processes."""
