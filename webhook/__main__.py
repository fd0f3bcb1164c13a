"""`python -m webhook` is `raywarden`."""

from webhook.cli import main

main()
