"""Stories told on each Kubernetes that is pinned, and the page that says how they went."""
