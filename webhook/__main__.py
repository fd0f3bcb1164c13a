"""The `raywarden` command, and `python -m webhook`."""

import signal
import sys


def main() -> None:
    """Run the command line. `enroll` is on every pod's way to its start: for it the server is not even imported."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        # Ctrl-C while modules are loaded just ends us: Python would print where it was, and some modules crash.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["enroll"]:
        from webhook.agent.command import main as run
    else:
        from webhook.commands.cli import main as run
    signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
