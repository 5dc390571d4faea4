"""See imprint_sweep/commands/cell.py."""

from imprint_sweep.commands.cell import main

if __name__ == "__main__":
    main()
