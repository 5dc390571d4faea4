"""See imprint_sweep/commands/collapse.py."""

from imprint_sweep.commands.collapse import main

if __name__ == "__main__":
    main()
