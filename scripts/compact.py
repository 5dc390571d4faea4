"""See imprint_sweep/commands/compact.py."""

from imprint_sweep.commands.compact import main

if __name__ == "__main__":
    main()
