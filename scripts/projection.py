"""See imprint_sweep/commands/projection.py."""

from imprint_sweep.commands.projection import main

if __name__ == "__main__":
    main()
