"""See imprint_sweep/cli/commands/best.py."""

from imprint_sweep.cli.commands.best import main

if __name__ == "__main__":
    main()
