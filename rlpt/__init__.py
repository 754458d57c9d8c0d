"""Pretraining for pixel-based reinforcement learning: a reproducibility bundle."""

__version__ = "0.1.0"
