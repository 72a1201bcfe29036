"""What every other folder stands on: errors, parsed configuration, files, paths, seeds, the registry and the store."""
