"""Subcommands of `vedette`, one module each, exporting `command`."""
