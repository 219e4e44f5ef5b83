"""Run the command line as ``python -m spinaldx``."""

from spinaldx.cli import main

if __name__ == "__main__":
    main()
