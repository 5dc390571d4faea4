"""See imprint_sweep/cli/commands/projection.py."""

from imprint_sweep.cli.commands.projection import main

if __name__ == "__main__":
    main()
