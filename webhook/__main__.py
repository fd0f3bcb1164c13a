"""The `raywarden` command, and `python -m webhook`."""

import gc
import signal
import sys


def main() -> None:
    """Run the command line.

    Every pod waits for `raywarden enroll` before it starts, so that command does not even import
    the server. A server without options needs no command line.
    """
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        # While modules are imported, let Ctrl-C end the process without a word. Python's own
        # handler would print a traceback, and some modules crash when it interrupts their import.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["enroll"]:
        # As in the init container's own image.
        gc.disable()
        from webhook.agent.command import main as run
    elif sys.argv[1:] == ["serve"]:
        from webhook.commands.server_process import main as run
    else:
        from webhook.commands.cli import main as run
    signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
