"""See imprint_sweep/cli/commands/export.py."""

from imprint_sweep.cli.commands.export import main

if __name__ == "__main__":
    main()
