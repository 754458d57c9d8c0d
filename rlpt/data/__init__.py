"""Frames, stored once: transition datasets and the replay buffer."""
