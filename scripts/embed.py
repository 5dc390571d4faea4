"""See imprint_sweep/cli/commands/embed.py."""

from imprint_sweep.cli.commands.embed import main

if __name__ == "__main__":
    main()
