"""``python -m neucept``: the command line."""

from neucept.cli import main

if __name__ == "__main__":
    main()
