"""Steps are made here: which comes next, where it runs, and the process that runs it."""
