"""What to try next: each algorithm of Katib, as a function of what was tried before."""
