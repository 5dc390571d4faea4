"""See imprint_sweep/commands/report.py."""

from imprint_sweep.commands.report import main

if __name__ == "__main__":
    main()
