"""`python -m rlpt`: the same as the `rlpt` command."""

from rlpt.cli import main

if __name__ == "__main__":
    main()
