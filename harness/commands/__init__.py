"""The subcommands parse arguments, call the library and print."""
