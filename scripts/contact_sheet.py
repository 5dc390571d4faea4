"""See imprint_sweep/cli/commands/contact_sheet.py."""

from imprint_sweep.cli.commands.contact_sheet import main

if __name__ == "__main__":
    main()
