"""See imprint_sweep/cli/commands/collapse.py."""

from imprint_sweep.cli.commands.collapse import main

if __name__ == "__main__":
    main()
