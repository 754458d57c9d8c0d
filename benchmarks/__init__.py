"""A plain implementation of the same computations, to measure rlpt against, and the pairs that are measured.

Eager, contiguous float32, separate forward passes, whole frame stacks stored, everything serial: what one would write
first. It gives the same numbers, which `rlpt bench` checks before it measures a computation; rows of sizes, whole loops
and start-up are compared as they are.
"""
