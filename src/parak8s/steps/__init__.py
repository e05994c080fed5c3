"""The steps of an experiment: plain functions that read directories, write directories and return a small result."""
