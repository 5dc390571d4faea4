"""See imprint_sweep/cli/commands/compact.py."""

from imprint_sweep.cli.commands.compact import main

if __name__ == "__main__":
    main()
