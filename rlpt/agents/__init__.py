"""Reinforcement-learning algorithms."""
