"""A run on disk: its folder, who works on it, its checkpoint, and the record of what made it."""
