"""Figures: learning curves, what encoders learn, networks drawn from the real modules."""
