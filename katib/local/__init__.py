"""Runs a Katib Experiment on this machine: the very object that a cluster gets."""
