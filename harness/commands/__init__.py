"""The commands, grouped: each module has `add(commands)`, and imports what a command needs when that runs."""
