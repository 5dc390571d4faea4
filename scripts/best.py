"""See imprint_sweep/commands/best.py."""

from imprint_sweep.commands.best import main

if __name__ == "__main__":
    main()
