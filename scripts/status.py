"""See imprint_sweep/cli/commands/status.py."""

from imprint_sweep.cli.commands.status import main

if __name__ == "__main__":
    main()
