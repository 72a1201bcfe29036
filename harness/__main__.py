"""`python -m harness` runs the command line; every worker is started this way."""

from harness.cli import main

if __name__ == "__main__":
    main()
