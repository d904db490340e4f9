"""The Stanch API: types, the CRDs generated from them, and their reference."""
