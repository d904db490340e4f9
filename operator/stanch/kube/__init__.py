"""The one module that talks to Kubernetes. JSON objects in, JSON objects out, our errors."""
