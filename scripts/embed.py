"""See imprint_sweep/commands/embed.py."""

from imprint_sweep.commands.embed import main

if __name__ == "__main__":
    main()
