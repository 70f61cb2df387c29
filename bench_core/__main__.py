"""`python -m bench_core`."""

from bench_core.cli.group import main

if __name__ == "__main__":
    main()
