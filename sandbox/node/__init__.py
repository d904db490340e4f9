"""A real node beside KWOK's, on Linux as root: `sandbox.node.node` is it, docs/development.md has its use."""
