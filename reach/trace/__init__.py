"""Runs over training: trajectories of tokens over steps, and the same tokens under several seeds."""
