"""This folder makes steps: it decides which comes next, where it runs, and starts the process that runs it."""
