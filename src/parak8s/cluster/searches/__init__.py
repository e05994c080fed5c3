"""Katib experiments on a cluster."""
