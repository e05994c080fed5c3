"""A search from the command line: what is wanted, run here or on a cluster, and what is left for people."""
