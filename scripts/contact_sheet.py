"""See imprint_sweep/commands/contact_sheet.py."""

from imprint_sweep.commands.contact_sheet import main

if __name__ == "__main__":
    main()
