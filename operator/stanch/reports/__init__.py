"""The post-incident report: composed from the incident and its evidence, rendered, and kept beside it."""
