"""`raywarden` in the init container's image, which has this one command: `raywarden enroll`."""

import gc
import sys


def main() -> None:
    """Run `raywarden enroll`, as `webhook.__main__` does in the server's image."""
    if sys.argv[1:2] != ["enroll"]:
        sys.exit(
            "raywarden: this image only has `raywarden enroll`, for the init container of Ray pods;"
            " use the server's image for other commands"
        )
    # The process ends before a collection would free anything worth its time.
    gc.disable()
    from webhook.agent.command import main as run

    run()


if __name__ == "__main__":
    main()
