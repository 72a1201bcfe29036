"""The subcommands: they parse arguments, call the library and print."""
