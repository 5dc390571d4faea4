"""See imprint_sweep/cli/commands/import_embeddings.py."""

from imprint_sweep.cli.commands.import_embeddings import main

if __name__ == "__main__":
    main()
