"""See imprint_sweep/commands/status.py."""

from imprint_sweep.commands.status import main

if __name__ == "__main__":
    main()
