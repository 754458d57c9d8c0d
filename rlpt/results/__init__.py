"""Finished runs as records, and what a repository or another tool keeps of them."""
