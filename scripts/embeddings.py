"""See imprint_sweep/cli/commands/list_embeddings.py."""

from imprint_sweep.cli.commands.list_embeddings import main

if __name__ == "__main__":
    main()
