"""The core holds what every other folder stands on: errors, parsed configuration, files, paths, seeds, registry,
store.
"""
