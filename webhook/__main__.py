"""The `raywarden` command, and `python -m webhook`."""

import sys


def main() -> None:
    """Run the command line. `enroll` is on every pod's way to its start: for it the server is not even imported."""
    if sys.argv[1:2] == ["enroll"]:
        from webhook.enroll_command import main as run
    else:
        from webhook.cli import main as run
    run()


if __name__ == "__main__":
    main()
