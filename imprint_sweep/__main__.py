"""``python -m imprint_sweep``."""

from imprint_sweep.cli.app import main

if __name__ == "__main__":
    main()
