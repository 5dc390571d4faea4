"""From Hydra's configuration and command line to cells and settings."""
