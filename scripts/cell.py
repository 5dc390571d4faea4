"""See imprint_sweep/cli/commands/cell.py."""

from imprint_sweep.cli.commands.cell import main

if __name__ == "__main__":
    main()
