"""`python -m harness`: the command line, and what every worker is started as."""

from harness.cli import main

if __name__ == "__main__":
    main()
