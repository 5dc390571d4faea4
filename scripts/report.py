"""See imprint_sweep/cli/commands/report.py."""

from imprint_sweep.cli.commands.report import main

if __name__ == "__main__":
    main()
